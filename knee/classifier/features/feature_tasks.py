"""The features of blocks of images as tasks of a place of work.

Images travel there and features back, unless the workers open the same paths: then these read the
pixels by themselves and write the features to files, which costs less than the engine of a cluster
takes for the bytes.
"""

from __future__ import annotations

import hashlib
import platform
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from knee.classifier.features.embedding import Block, Compute, FrozenNet, features_of
from knee.classifier.features.views import Views
from knee.execution.ordered import ordered
from knee.execution.place import Place
from knee.storage import artifacts
from knee.storage.arrays import HalfFloats, Integers, Pixels
from knee.storage.artifacts import ArtifactError
from knee.storage.row_files import RowFile


class Order(NamedTuple):
    """A block whose images are read elsewhere."""

    rows: Integers
    chosen: Integers

    def __str__(self) -> str:
        return f"{len(self.chosen)} images of rows {self.rows[0]} to {self.rows[-1]}"

    def file(self, folder: Path) -> Path:
        """Return the file of its features."""
        return folder / f"{self.rows[0]}.npy"


def write_features(
    net: FrozenNet, pixels: RowFile, views: Views, folder: Path, orders: Sequence[Order]
) -> list[str]:
    """Write the features of each order to its file; return their SHA-256. A task of a place."""
    if not folder.is_dir():
        raise ArtifactError(f"{folder} is not on {platform.node()}: give execution.files=sent")
    digests = []
    for order in orders:
        made = views.of(pixels.of_rows(order.rows), order.rows)
        (values,) = features_of(net, [made[order.chosen]])
        with artifacts.staged_file(order.file(folder)) as staged:
            np.save(staged, values, allow_pickle=False)
        digests.append(hashlib.sha256(values.data).hexdigest())
    return digests


def compute_at(
    place: Place, net: FrozenNet, pixels: RowFile, views: Views, folder: Path
) -> Compute:
    """Return what `embedding.embed` computes by; `folder` is made where workers write files."""
    if place.in_process or not place.has_files:
        return partial(_sent, place, net)
    folder.mkdir()
    return partial(_by_files, place, net, pixels, views, folder.absolute())


def _sent(place: Place, net: FrozenNet, blocks: Iterator[Block]) -> Iterator[HalfFloats]:
    images = ([block.images] for block in blocks)
    for (values,) in ordered(place, features_of, [place.share(net)], images, name=_name):
        yield values


def _name(images: Pixels) -> str:
    return f"a block of {len(images)} images"


def _by_files(
    place: Place,
    net: FrozenNet,
    pixels: RowFile,
    views: Views,
    folder: Path,
    blocks: Iterator[Block],
) -> Iterator[HalfFloats]:
    waiting: deque[Order] = deque()

    def orders() -> Iterator[Sequence[Order]]:
        for block in blocks:
            waiting.append(Order(block.rows, block.chosen))
            yield [waiting[-1]]

    given = [place.share(net), place.share(pixels), views, folder]
    for (digest,) in ordered(place, write_features, given, orders(), name=str):
        yield _taken(waiting.popleft().file(folder), digest)
    folder.rmdir()


def _taken(file: Path, digest: str) -> HalfFloats:
    """The features in `file`, which goes."""
    try:
        values: HalfFloats = np.load(file, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"a node wrote {file}, which is not here: {error}") from error
    if hashlib.sha256(values.data).hexdigest() != digest:
        raise ArtifactError(f"{file} has other bytes here than where a node wrote it")
    file.unlink()
    return values
