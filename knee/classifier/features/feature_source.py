"""Feature maps and pixels on disk, read row by row; importable without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.storage.arrays import Images, Integers
from knee.storage.artifacts import ArtifactError, read_json
from knee.storage.row_files import RowFile, Values

FEATURES = "features"  # a folder of shards
ORIGIN = "embedding.json"  # which views the features hold, and what computed them
IMAGE, MIRROR, AUGMENTED = "image", "mirror", "augmented"  # kinds of views


@dataclass(frozen=True)
class Source:
    """The inputs of a training: features of a frozen backbone, or pixels.

    Attributes:
        values: (views, rows, ...), uint8 pixels (views, rows, side, side) or float16 features.
        pixels: whether `values` are raw pixels.
        kinds: one of IMAGE, MIRROR, AUGMENTED for each view; the first is the image itself.
    """

    values: RowFile | npt.NDArray[np.generic]
    pixels: bool
    kinds: tuple[str, ...] = (IMAGE,)

    def take(self, views: Integers, rows: Integers) -> Values:
        """The values at `views` and `rows`, both (n,): (n, ...)."""
        if isinstance(self.values, RowFile):
            return self.values.take(views, rows)
        return self.values[views, rows]

    @property
    def bytes(self) -> int:
        """Size of all values."""
        return int(np.prod(self.values.shape)) * self.values.dtype.itemsize

    def in_memory(self) -> Source:
        """The same with all values in memory."""
        if not isinstance(self.values, RowFile):
            return self
        views, rows = self.values.shape[:2]
        values = self.values.take(
            np.repeat(np.arange(views), rows), np.tile(np.arange(rows), views)
        )
        return Source(values.reshape(self.values.shape), self.pixels, self.kinds)

    def offered(self, *, flip: bool) -> list[int]:
        """Views that training draws from; the mirror image only if it may `flip`."""
        return [number for number, kind in enumerate(self.kinds) if flip or kind != MIRROR]


@dataclass(frozen=True)
class Subset:
    """Rows of a source with their classes; rows may repeat in training.

    `soft_labels`, (rows, classes), are the wanted probabilities where a training gives each row its
    own, and not those of its class.
    """

    rows: Integers
    class_indices: Integers
    soft_labels: Images | None = None

    @classmethod
    def of(cls, table: pd.DataFrame) -> Subset:
        """The rows that the columns pixel_row and class_index name."""
        return cls(table["pixel_row"].to_numpy(), table["class_index"].to_numpy())


@dataclass(frozen=True)
class TrainingData:
    """What a training reads: the rows `validation` choose the epoch, and are never of the test.

    `class_weights` (classes,) are factors on the loss.
    """

    source: Source
    training: Subset
    validation: Subset
    classes: int
    class_weights: npt.NDArray[np.float32]


def open_source(folder: Path, pixels: Path) -> Source:
    """The features in `folder` where it has some, else the pixels.

    Raises:
        ArtifactError: they are damaged.
    """
    if not (folder / FEATURES).is_dir():
        return Source(RowFile(pixels, has_views=False), pixels=True)
    values = RowFile(folder / FEATURES, has_views=True)
    kinds = tuple(read_origin(folder)["views"])
    if len(kinds) != values.shape[0]:
        raise ArtifactError(
            f"{folder / FEATURES} has {values.shape[0]} views, {ORIGIN} tells of {len(kinds)}: "
            "run `dvc repro`"
        )
    return Source(values, pixels=False, kinds=kinds)


def read_origin(folder: Path) -> dict[str, Any]:
    """What the features in `folder` are, as the embed stage wrote it; {} where it has none."""
    return read_json(folder / ORIGIN, ("views",)) if (folder / FEATURES).is_dir() else {}
