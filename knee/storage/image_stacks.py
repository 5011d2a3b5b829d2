"""Images of one size in a file without a name, read by their numbers: memory holds what is asked.

The file goes with the process, however that ends; nothing of it is ever left on the disk.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from knee.storage import artifacts
from knee.storage.arrays import Integers, Pixels

BLOCK_IMAGES: Final = 256


class ImageRows(Protocol):
    """Images, uint8 (n, side, side): an array of them, or a stack in a file."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Integers | slice, /) -> Pixels: ...


def blocks(images: ImageRows) -> Iterator[Pixels]:
    """Yield all images in order, `BLOCK_IMAGES` at once."""
    for start in range(0, len(images), BLOCK_IMAGES):
        yield images[start : start + BLOCK_IMAGES]


class ImageStack:
    """Square images on disk, uint8 (n, side, side), that can be added to."""

    def __init__(self, side_pixels: int, folder: Path | None = None) -> None:
        """Open an empty stack on the disk of `folder`; None is that of temporary files."""
        self._side, self._folder = side_pixels, folder or Path(tempfile.gettempdir())
        self._images = 0
        file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 (closed with this object)
        weakref.finalize(self, file.close)
        self._file = file

    def __len__(self) -> int:
        return self._images

    def __getitem__(self, rows: Integers | slice) -> Pixels:
        """Return the images at `rows`, (n,) in any order or a slice of step 1."""
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(self._images)
            images = self._empty(max(0, stop - start))
            self._fill(images, start)
            return images
        images = self._empty(len(rows))
        for image, row in zip(images, np.asarray(rows).tolist(), strict=True):
            self._fill(image, row)
        return images

    def extend(self, images: Pixels) -> None:
        """Add several images, uint8 (n, side, side); `ValueError` for another shape or dtype."""
        if images.shape[1:] != (self._side, self._side) or images.dtype != np.uint8:
            raise ValueError(
                f"expected uint8 ({self._side}, {self._side}), got {images.dtype} {images.shape}"
            )
        left = np.ascontiguousarray(images).reshape(-1).data
        with artifacts.naming(self._folder):
            while left:  # a system may write less than it is given
                left = left[os.write(self._file.fileno(), left) :]
        self._images += len(images)

    def _empty(self, images: int) -> Pixels:
        return np.empty((images, self._side, self._side), np.uint8)

    def _fill(self, images: Pixels, row: int) -> None:
        """Read so many images from number `row` on."""
        if row < 0 or row * self._side**2 + images.nbytes > self._images * self._side**2:
            raise IndexError(f"image {row} of {self._images}")
        left, place = images.reshape(-1).data, row * self._side**2
        while left:
            count = os.preadv(self._file.fileno(), [left], place)
            if not count:
                raise EOFError(f"the file of images ends at byte {place}")
            left, place = left[count:], place + count


class ChosenImages:
    """Some images of others, in an order of their own, perhaps changed as they are read."""

    def __init__(
        self, images: ImageRows, rows: Integers, change: Callable[[Pixels], Pixels] | None = None
    ) -> None:
        """Choose the `rows` (n,) of `images`; `change` takes and gives uint8 (n, side, side)."""
        self._images, self._rows, self._change = images, rows, change

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Integers | slice) -> Pixels:
        """Return the images at `rows` of the choice."""
        images = self._images[self._rows[rows]]
        return self._change(images) if self._change else images
