"""Feature maps and pixels on disk, read row by row; importable without TensorFlow."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.storage.arrays import Images, Integers
from knee.storage.artifacts import ArtifactError, read_json
from knee.storage.row_files import UNREADABLE, RowFile, Values

FEATURES = "features"  # a folder of shards
IMAGES = "images.npy"  # which images they are of
ORIGIN = "embedding.json"  # which views the features hold, and what computed them
IMAGE, MIRROR, AUGMENTED = "image", "mirror", "augmented"  # kinds of views


@dataclass(frozen=True)
class Source:
    """The inputs of a training: features of a frozen backbone, or pixels.

    Attributes:
        values: (views, rows, ...), uint8 pixels (views, rows, side, side) or float16 features.
        pixels: whether `values` are raw pixels.
        kinds: one of IMAGE, MIRROR, AUGMENTED for each view; the first is the image itself.
        images: (rows,) the row of the pixels that each row of `values` is of, ascending; None: all.
    """

    values: RowFile | npt.NDArray[np.generic]
    pixels: bool
    kinds: tuple[str, ...] = (IMAGE,)
    images: Integers | None = None

    def take(self, views: Integers, rows: Integers) -> Values:
        """The values of `views` of the images in `rows` of the pixels, both (n,): (n, ...).

        Raises:
            ArtifactError: an image of which there are none.
        """
        places = rows if self.images is None else _places(self.images, rows)
        if isinstance(self.values, RowFile):
            return self.values.take(views, places)
        return self.values[views, places]

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
        return dataclasses.replace(self, values=values.reshape(self.values.shape))

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
    return Source(values, pixels=False, kinds=kinds, images=_read_images(folder, len(values)))


def read_origin(folder: Path) -> dict[str, Any]:
    """What the features in `folder` are, as the embed stage wrote it; {} where it has none."""
    return read_json(folder / ORIGIN, ("views",)) if (folder / FEATURES).is_dir() else {}


def write_images(images: Integers, folder: Path) -> None:
    """Write which `images` the features in `folder` are of: the rows of the pixels, ascending."""
    np.save(folder / IMAGES, images, allow_pickle=False)


def _read_images(folder: Path, count: int) -> Integers:
    path = folder / IMAGES
    try:
        images: Integers = np.load(path, allow_pickle=False)
    except (OSError, *UNREADABLE) as error:
        raise ArtifactError(f"{path} is no array file ({error}): run `dvc repro`") from error
    if images.shape != (count,) or images.dtype != np.int64 or (np.diff(images) <= 0).any():
        raise ArtifactError(f"{path} does not name {count} images: run `dvc repro`")
    return images


def _places(images: Integers, rows: Integers) -> Integers:
    """Where `rows` stand among `images`."""
    places = np.searchsorted(images, rows).clip(max=len(images) - 1)
    if (strange := rows[images[places] != rows]).size:
        raise ArtifactError(
            f"there are no features of the image in row {strange[0]} of the pixels: run `dvc repro`"
        )
    return places
