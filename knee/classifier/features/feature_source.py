"""Feature maps and pixels on disk, read row by row; importable without TensorFlow."""

from __future__ import annotations

import json
import os
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from knee.storage.arrays import Integers

FEATURES = "features.npy"
ORIGIN = "embedding.json"  # which views the features hold, and what computed them
IMAGE, MIRROR, AUGMENTED = "image", "mirror", "augmented"  # kinds of views

Values = npt.NDArray[Any]


class FeaturesError(ValueError):
    """Features or pixels that are damaged, or do not belong together."""


class RowFile:
    """An array (views, rows, ...) in a .npy file; memory holds the rows that are asked for alone.

    A memory map would keep every page that a training has touched.

    Attributes:
        shape: (views, rows, ...).
        dtype: of the values.
    """

    def __init__(self, path: Path, *, has_views: bool) -> None:
        self._path = path
        try:
            with path.open("rb") as stream:
                version = np.lib.format.read_magic(stream)
                header = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }[version]
                shape, by_column, self.dtype = header(stream)
                self._offset = stream.tell()
        except (ValueError, KeyError, EOFError) as error:
            raise FeaturesError(f"{path} is no array file ({error}): run `dvc repro`") from error
        self.shape: tuple[int, ...] = shape if has_views else (1, *shape)
        if by_column or self.dtype.hasobject or len(self.shape) < 3:
            raise FeaturesError(f"{path}: expected an array of rows: run `dvc repro`")
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def __len__(self) -> int:
        return self.shape[1]

    def take(self, views: Integers, rows: Integers) -> Values:
        """The values at `views` and `rows`, both (n,): (n, ...).

        Raises:
            FeaturesError: a row that the file does not have.
        """
        chosen = np.empty((len(rows), *self.shape[2:]), self.dtype)
        size = self.dtype.itemsize * int(np.prod(self.shape[2:]))
        for place, view, row in zip(chosen, views.tolist(), rows.tolist(), strict=True):
            where = self._offset + (view * len(self) + row) * size
            inside = 0 <= view < self.shape[0] and 0 <= row < len(self)
            if not inside or os.preadv(self._descriptor, [place], where) != size:
                raise FeaturesError(f"{self._path} has no row {row}: run `dvc repro`")
        return chosen

    def slice(self, start: int, stop: int) -> Values:
        """Rows `start` to `stop` of view 0."""
        rows = np.arange(start, min(stop, len(self)), dtype=np.int64)
        return self.take(np.zeros_like(rows), rows)


@dataclass(frozen=True)
class Source:
    """What the trained part reads.

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

    def offered(self, *, flip: bool) -> list[int]:
        """Views that training draws from; the mirror image only if it may `flip`."""
        return [number for number, kind in enumerate(self.kinds) if flip or kind != MIRROR]


def open_source(folder: Path, pixels: Path) -> Source:
    """The features in `folder` where it has some, else the pixels.

    Raises:
        FeaturesError: they are damaged.
    """
    if not (folder / FEATURES).is_file():
        return Source(RowFile(pixels, has_views=False), pixels=True)
    values = RowFile(folder / FEATURES, has_views=True)
    kinds = tuple(read_origin(folder)["views"])
    if len(kinds) != values.shape[0]:
        raise FeaturesError(
            f"{folder / FEATURES} has {values.shape[0]} views, {ORIGIN} tells of {len(kinds)}: "
            "run `dvc repro`"
        )
    return Source(values, pixels=False, kinds=kinds)


def read_origin(folder: Path) -> dict[str, Any]:
    """What the features in `folder` are, as the embed stage wrote it."""
    try:
        origin: dict[str, Any] = json.loads((folder / ORIGIN).read_text(encoding="utf-8"))
        return {"views": [], **origin}
    except (OSError, ValueError) as error:
        raise FeaturesError(f"{folder / ORIGIN} cannot be read: run `dvc repro`") from error
