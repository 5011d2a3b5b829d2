"""Feature maps of the frozen backbone, once per image and view."""

from __future__ import annotations

import functools
import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from knee.classifier.features import engines
from knee.classifier.features.engines import Engine, Forward
from knee.classifier.features.views import Views
from knee.classifier.net.design import BackboneDesign
from knee.run import progress
from knee.storage.arrays import HalfFloats, Integers, Pixels
from knee.storage.artifacts import ArtifactError
from knee.storage.known_results import KnownResults
from knee.storage.row_files import RowFile, RowWriter, written_rows

CHUNK_IMAGES = 128  # at most, between two marks of progress; a task of a place of work
CHUNK_BYTES = 64 * 2**20  # at most: two of them are in memory at once, more with many workers
TRIAL_IMAGES = 8


@dataclass(frozen=True)
class FrozenNet:
    """A frozen backbone and what computes it, as a task of a place of work is given it.

    Attributes:
        design: of the backbone.
        engine: that computes it.
        cores: of a worker; 0: all of the machine.
    """

    design: BackboneDesign
    engine: Engine
    cores: int = 0

    @property
    def is_the_same_everywhere(self) -> bool:
        """Whether an image's features are the same in every run, process and batch.

        Weights drawn at random are others in each; of GPUs it is not known.
        """
        return self.engine.name == "openvino" and self.design.weights != "none"

    def origin(self) -> dict[str, Any]:
        """Return what its features come from, to be written beside them."""
        engines.prepare(self.engine)
        from knee.classifier.net import backbones

        return {
            "engine": self.engine.name,
            "precision": self.engine.precision,
            "versions": self.engine.versions,
            "weights": backbones.weights_fingerprint(self.design.weights, self.design.name),
        }


@functools.lru_cache(maxsize=1)
def forward_of(net: FrozenNet) -> Forward:
    """Return `net`, ready to run, built once in a process.

    Raises:
        DesignError: unknown backbone or layer, or missing weights.
    """
    engine = net.engine
    engines.prepare(engine)
    from knee.classifier.net import fine_tuning

    if engine.name == "openvino":
        frozen, _ = fine_tuning.split_backbone(net.design)
        return engines.OpenVinoForward(frozen, engine.precision, net.cores)
    from knee.classifier.net import devices  # TensorFlow: only where it is the engine

    strategy = devices.strategy()
    devices.set_precision("none" if engine.precision == "float32" else engine.precision)
    with strategy.scope():
        frozen, _ = fine_tuning.split_backbone(net.design)
        return engines.TensorFlowForward(frozen, strategy)


@dataclass(frozen=True, eq=False)
class Block:
    """What the net is given of some images.

    Attributes:
        rows: of the pixels.
        chosen: which of the rows' images with all views, in the order of rows, (n,).
        images: these, uint8 (n, side, side).
    """

    rows: Integers
    chosen: Integers
    images: Pixels


Compute = Callable[[Iterator[Block]], Iterator[HalfFloats]]


def features_of(net: FrozenNet, blocks: Sequence[Pixels]) -> list[HalfFloats]:
    """Return the features of each block of images, uint8 (n, side, side); a task of a place."""
    return [_filled(forward_of(net), block) for block in blocks]


def trial(net: FrozenNet) -> str:
    """Return a digest of the features of noise."""
    side = net.design.side_pixels
    noise = np.random.default_rng(0).integers(0, 256, (TRIAL_IMAGES, side, side), np.uint8)
    return hashlib.sha256(_filled(forward_of(net), noise).tobytes()).hexdigest()


def _filled(forward: Forward, images: Pixels) -> HalfFloats:
    values = np.empty((len(images), *forward.output_shape), np.float16)
    if len(images):
        forward.fill(images, values)
    return values


def embed(
    compute: Compute,
    output_shape: tuple[int, ...],
    pixels: RowFile,
    rows: Integers,
    views: Views,
    out: Path,
    known: KnownResults | None = None,
) -> tuple[int, ...]:
    """Write the features of all `views` of `rows` of `pixels` to the folder `out`, in shards.

    Features that are `known` by the SHA-256 of what the net is given are not computed.

    Args:
        compute: gives the features of each block in their order, float16 (n, *output_shape).
        output_shape: of the features of one image.
        pixels: canonical pixels.
        rows: (images,) of these, in the order in which their features are written.
        views: of each image.
        out: folder that is made.
        known: of an earlier run, to be added to.

    Returns:
        The shape of the written array, float16 (images, views, ...).

    Raises:
        ArtifactError: features that float16 cannot hold.
    """
    row_shape = (len(views.kinds), *output_shape)
    with (
        written_rows(out, row_shape, np.float16, known.keep_file if known else None) as file,
        ThreadPoolExecutor(1) as writer,  # writes a chunk while the next one is computed
        progress.shown("embed", len(rows), "images") as advance,
    ):
        waiting: deque[_Chunk] = deque()

        def blocks() -> Iterator[Block]:
            at_once = chunk_images(row_shape)
            for start in range(0, len(rows), at_once):
                some = rows[start : start + at_once]
                waiting.append(_Chunk.of(pixels, some, start, views, row_shape, known))
                yield waiting[-1].unknown

        written: Future[None] | None = None
        for computed in compute(blocks()):
            chunk = waiting.popleft()
            chunk.complete(computed, file, known)
            if written is not None:
                written.result()
            written = writer.submit(file.extend, chunk.values)
            advance(len(chunk.values))
        if written is not None:
            written.result()
    return (len(rows), *row_shape)


def chunk_images(row_shape: tuple[int, ...]) -> int:
    """Images whose features, of `row_shape` each, fill a chunk, which is in memory at a time."""
    return max(min(CHUNK_IMAGES, CHUNK_BYTES // (2 * int(np.prod(row_shape)))), 1)


@dataclass(frozen=True, eq=False)
class _Chunk:
    """Some images with all their views, of which the net computes what is not known.

    Attributes:
        values: features, float16 (images, views, ...).
        start: where they are written: the place of the first image's.
        unknown: where they are not known.
        keys: of all rows and views, in this order; of none where nothing is known.
    """

    values: HalfFloats
    start: int
    unknown: Block
    keys: Sequence[bytes]

    @classmethod
    def of(
        cls,
        pixels: RowFile,
        rows: Integers,
        start: int,
        views: Views,
        row_shape: tuple[int, ...],
        known: KnownResults | None,
    ) -> _Chunk:
        made = views.of(pixels.of_rows(rows), rows)
        values = np.empty((len(rows), *row_shape), np.float16)
        if known is None:
            return cls(values, start, Block(rows, np.arange(len(made)), made), ())
        keys = [hashlib.sha256(image.tobytes()).digest() for image in made]
        found = [known.get(key) for key in keys]
        flat = values.reshape(-1, *row_shape[1:])
        for place, value in enumerate(found):
            if value is not None:
                flat[place] = np.frombuffer(value, np.float16).reshape(row_shape[1:])
        unknown = np.array([n for n, value in enumerate(found) if value is None], np.int64)
        return cls(values, start, Block(rows, unknown, made[unknown]), keys)

    def complete(self, computed: HalfFloats, file: RowWriter, known: KnownResults | None) -> None:
        """Put what was `computed` in its place; add all to what is `known` of `file`."""
        flat = self.values.reshape(-1, *self.values.shape[2:])
        flat[self.unknown.chosen] = computed
        rows = self.unknown.rows
        if not np.isfinite(self.values).all():
            raise ArtifactError(
                f"features of rows {rows[0]} to {rows[-1]} exceed what "
                "float16 holds: check the weights, or choose another fine-tuning depth "
                "(model.train_from)"
            )
        if known is not None:
            for number, (key, value) in enumerate(zip(self.keys, flat, strict=True)):
                row, view = divmod(number, self.values.shape[1])
                known.add(key, value.tobytes(), file.place_of(self.start + row, view))
