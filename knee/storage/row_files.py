"""Arrays on disk, row by row: one writer and one reader of .npy files that may exceed memory."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import platform
import tokenize
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from knee.storage import artifacts
from knee.storage.arrays import Integers, Pixels
from knee.storage.artifacts import ArtifactError

Values = npt.NDArray[Any]
MARKED_BYTES: Final = 1 << 20
UNREADABLE = (ValueError, EOFError, SyntaxError, tokenize.TokenError)  # NumPy's, of a bad header


class RowWriter:
    """A .npy file under construction: rows arrive one by one or in blocks."""

    def __init__(
        self,
        stream: BinaryIO,
        row_shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        axes: tuple[int, ...] | None = None,
    ) -> None:
        """Begin the file.

        Args:
            stream: opened for writing, at its start.
            row_shape: of one row.
            dtype: of the values.
            axes: sizes of all axes before those of a row, such as (views, images); None is one
                axis as long as the number of rows will be.
        """
        self.rows = 0  # written so far
        self._stream, self._row_shape, self._axes = stream, row_shape, axes
        self._dtype = np.dtype(dtype)
        self._write_header()
        self.first_byte = stream.tell()  # of the first row

    def append(self, row: Values) -> int:
        """Add one row as `extend` does and return its number."""
        self.extend(row[np.newaxis])
        return self.rows - 1

    def extend(self, rows: Values) -> None:
        """Add several rows, (n, ...); `ValueError` for another shape or dtype."""
        if rows.shape[1:] != self._row_shape or rows.dtype != self._dtype:
            raise ValueError(
                f"expected {self._dtype} {self._row_shape}, got {rows.dtype} {rows.shape[1:]}"
            )
        self._stream.write(np.ascontiguousarray(rows).data)
        self.rows += len(rows)

    def replace(self, number: int, row: Values) -> None:
        """Write `row` in the place of one that was added before."""
        if not 0 <= number < self.rows or row.shape != self._row_shape or row.dtype != self._dtype:
            raise ValueError(f"row {number} of {self.rows} cannot become {row.dtype} {row.shape}")
        self._stream.seek(self.first_byte + number * row.nbytes)
        self._stream.write(np.ascontiguousarray(row).data)
        self._stream.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Complete the header; `ValueError` for another number of rows than was announced."""
        if self._axes is not None and self.rows != math.prod(self._axes):
            raise ValueError(f"expected {math.prod(self._axes)} rows, got {self.rows}")
        self._stream.seek(0)
        self._write_header()

    def _write_header(self) -> None:
        # NumPy pads the header so that a growing first axis never changes its length.
        axes = (self.rows,) if self._axes is None else self._axes
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (*axes, *self._row_shape),
        }
        np.lib.format.write_array_header_1_0(self._stream, header)


@contextlib.contextmanager
def written_rows(
    path: Path,
    row_shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    axes: tuple[int, ...] | None = None,
) -> Iterator[RowWriter]:
    """A `RowWriter` of the file `path`, which is there only once it is whole.

    After an exception nothing is left, and what was at `path` before is still there.
    """
    with artifacts.staged_file(path) as staged, staged.open("wb") as stream:
        writer = RowWriter(stream, row_shape, dtype, axes)
        yield writer
        writer.close()


class RowFile:
    """An array of `shape` (views, rows, ...) in a .npy file; only rows asked for are in memory.

    A memory map would keep every page that a training has touched. A pickled one opens the same
    path elsewhere, and refuses another file there.
    """

    def __init__(self, path: Path, *, has_views: bool) -> None:
        self.path, self.has_views = path, has_views
        try:
            mapped = np.lib.format.open_memmap(path, mode="r")
        except UNREADABLE as error:
            raise ArtifactError(f"{path} is no array file ({error}): run `dvc repro`") from error
        self.shape: tuple[int, ...] = mapped.shape if has_views else (1, *mapped.shape)
        self.dtype, self._offset = mapped.dtype, mapped.offset
        if not mapped.flags.c_contiguous or len(self.shape) < 3:
            raise ArtifactError(f"{path}: expected an array of rows: run `dvc repro`")
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def __len__(self) -> int:
        return self.shape[1]

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.path.absolute(), self.has_views, self._mark())

    def _mark(self) -> bytes:
        """A digest of the size, the first and the last bytes of the file."""
        size = os.fstat(self._descriptor).st_size
        ends = [
            os.pread(self._descriptor, MARKED_BYTES, at) for at in (0, max(0, size - MARKED_BYTES))
        ]
        return hashlib.sha256(b"%d:" % size + b"".join(ends)).digest()

    def take(self, views: Integers, rows: Integers) -> Values:
        """The values at `views` and `rows`, both (n,): (n, ...).

        Raises:
            ArtifactError: a row that the file does not have.
        """
        chosen = np.empty((len(rows), *self.shape[2:]), self.dtype)
        size = self.dtype.itemsize * int(np.prod(self.shape[2:]))
        for place, view, row in zip(chosen, views.tolist(), rows.tolist(), strict=True):
            where = self._offset + (view * len(self) + row) * size
            inside = 0 <= view < self.shape[0] and 0 <= row < len(self)
            if not inside or os.preadv(self._descriptor, [place], where) != size:
                raise ArtifactError(f"{self.path} has no row {row}: run `dvc repro`")
        return chosen

    def slice(self, start: int, stop: int) -> Values:
        """Rows `start` to `stop` of view 0."""
        rows = np.arange(start, min(stop, len(self)), dtype=np.int64)
        return self.take(np.zeros_like(rows), rows)


def _reopened(path: Path, has_views: bool, mark: bytes) -> RowFile:
    """The same file on another machine."""
    if not path.is_file():
        raise ArtifactError(f"{path} is not on {platform.node()}: give execution.files=sent")
    opened = RowFile(path, has_views=has_views)
    if opened._mark() != mark:
        raise ArtifactError(
            f"{path} is another file on {platform.node()}: give execution.files=sent"
        )
    return opened


class PixelFile:
    """Canonical pixels, uint8 `shape` (images, side, side), of which memory holds one image."""

    def __init__(self, path: Path, rows: Integers) -> None:
        """Open the file that has `rows`; it raises what `read_pixels` does."""
        self.shape = read_pixels(path, rows).shape
        self._file = RowFile(path, has_views=False)

    def __getitem__(self, row: int) -> Pixels:
        """Return an image, uint8 (side, side)."""
        image: Pixels = self._file.slice(row, row + 1)[0]
        return image


def read_pixels(path: Path, rows: Integers) -> Pixels:
    """Return the array at `path`, uint8 (images, side, side), memory-mapped, which has `rows`.

    Raises:
        ArtifactError: it is missing or damaged, or has not these rows.
    """
    try:
        pixels: Pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, *UNREADABLE) as error:
        raise ArtifactError(f"{path} is no pixel array ({error}): run the ingest stage") from error
    if pixels.ndim != 3 or pixels.dtype != np.uint8 or pixels.shape[1] != pixels.shape[2]:
        raise ArtifactError(f"{path} holds {pixels.dtype} {pixels.shape}: run the ingest stage")
    if len(rows) and (rows.min() < 0 or rows.max() >= len(pixels)):
        raise ArtifactError(
            f"{path} has {len(pixels)} images, the records ask for number {rows.max()}: "
            "run the ingest stage"
        )
    return pixels
