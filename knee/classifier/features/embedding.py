"""Feature maps of the frozen backbone, once per image and view."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from knee.classifier.features import engines
from knee.classifier.features.engines import Engine, Forward
from knee.classifier.features.views import Views
from knee.classifier.net.design import BackboneDesign
from knee.run import progress
from knee.storage.arrays import HalfFloats, Pixels
from knee.storage.artifacts import ArtifactError
from knee.storage.known_results import KnownResults
from knee.storage.row_files import RowFile, written_rows

CHUNK_IMAGES = 512  # at most, between two marks of progress
CHUNK_BYTES = 64 * 2**20  # at most: two of them are in memory at once


def frozen_forward(design: BackboneDesign, engine: Engine) -> tuple[Forward, dict[str, Any]]:
    """Return the frozen backbone of `design`, ready to run, and the origin of its features.

    Raises:
        DesignError: unknown backbone or layer, or missing weights.
    """
    engines.prepare(engine)
    from knee.classifier.net import backbones, fine_tuning

    origin = {
        "engine": engine.name,
        "precision": engine.precision,
        "versions": engine.versions,
        "weights": backbones.weights_fingerprint(design.weights, design.name),
    }
    if engine.name == "openvino":
        frozen, _ = fine_tuning.split_backbone(design)
        return engines.OpenVinoForward(frozen, engine.precision), origin
    from knee.classifier.net import devices  # TensorFlow: only where it is the engine

    strategy = devices.strategy()
    devices.set_precision("none" if engine.precision == "float32" else engine.precision)
    with strategy.scope():
        frozen, _ = fine_tuning.split_backbone(design)
        return engines.TensorFlowForward(frozen, strategy), origin


def embed(
    forward: Forward, pixels: RowFile, views: Views, out: Path, known: KnownResults | None = None
) -> tuple[int, ...]:
    """Write the outputs of `forward` for all `views` of `pixels` to the folder `out`, in shards.

    Outputs that are `known` by the SHA-256 of what the net is given are not computed.

    Returns:
        The shape of the written array, float16 (images, views, ...).

    Raises:
        ArtifactError: features that float16 cannot hold.
    """
    row_shape = (len(views.kinds), *forward.output_shape)
    at_once = chunk_images(row_shape)
    with (
        written_rows(out, row_shape, np.float16, known.keep_file if known else None) as file,
        ThreadPoolExecutor(1) as writer,  # writes a chunk while the next one is computed
        progress.shown("embed", len(pixels), "images") as advance,
    ):
        written: Future[None] | None = None
        for start in range(0, len(pixels), at_once):
            images = pixels.slice(start, start + at_once)
            values = np.empty((len(images), *row_shape), np.float16)
            for view in range(len(views.kinds)):
                made = views.make(images, start, view)
                if known is None:
                    forward.fill(made, values[:, view])
                else:
                    places = [file.place_of(start + row, view) for row in range(len(images))]
                    _fill_new(forward, made, values[:, view], known, places)
            _check(values, start)
            if written is not None:
                written.result()
            written = writer.submit(file.extend, values)
            advance(len(images))
        if written is not None:
            written.result()
    return (len(pixels), *row_shape)


def chunk_images(row_shape: tuple[int, ...]) -> int:
    """Images whose features, of `row_shape` each, fill a chunk, which is in memory at a time."""
    return max(min(CHUNK_IMAGES, CHUNK_BYTES // (2 * int(np.prod(row_shape)))), 1)


def _fill_new(
    forward: Forward,
    images: Pixels,
    values: HalfFloats,
    known: KnownResults,
    places: Sequence[tuple[int, int]],
) -> None:
    """Fill `values`, which will lie at `places` (file, byte); known ones without the net."""
    keys = [hashlib.sha256(image.tobytes()).digest() for image in images]
    new = []
    for row, key in enumerate(keys):
        value = known.get(key)
        if value is None:
            new.append(row)
        else:
            values[row] = np.frombuffer(value, np.float16).reshape(forward.output_shape)
    if new:
        made = np.empty((len(new), *forward.output_shape), np.float16)
        forward.fill(images[new], made)
        values[new] = made
    for key, value, place in zip(keys, values, places, strict=True):
        known.add(key, value.tobytes(), place)


def _check(values: HalfFloats, row: int) -> None:
    if not np.isfinite(values).all():
        raise ArtifactError(
            f"features of rows {row} to {row + len(values) - 1} exceed what float16 holds: check "
            "the weights, or choose another fine-tuning depth (model.train_from)"
        )
