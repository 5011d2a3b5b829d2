"""Arrays on disk that may exceed memory: the writer and the reader of their rows, in shards.

A shard is a .npy file of 1,024 rows, the last one of what is left: 00000.npy, 00001.npy, ... So DVC
hashes, uploads and stores each by itself, and rows added at the end leave all others alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import platform
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from knee.storage import artifacts
from knee.storage.arrays import Integers, Pixels
from knee.storage.artifacts import ArtifactError
from knee.storage.numbered_files import NumberedFiles

Values = npt.NDArray[Any]
SHARD_ROWS: Final = 1024
MARKED_BYTES: Final = 1 << 20
UNREADABLE = (ValueError, EOFError, SyntaxError, tokenize.TokenError)  # NumPy's, of a bad header


def shard_path(folder: Path, number: int) -> Path:
    """Return the path of the shard `number` (from 0) of the array in `folder`."""
    return folder / f"{number:05}.npy"


class RowWriter:
    """A folder of shards under construction: rows arrive one by one or in blocks."""

    def __init__(
        self,
        folder: Path,
        row_shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        on_shard: Callable[[Path], None] | None = None,
    ) -> None:
        """Begin in `folder`, which is empty; `on_shard` is called with each file that is whole."""
        self.rows = 0  # written so far
        self._folder, self._row_shape, self._dtype = folder, row_shape, np.dtype(dtype)
        self._on_shard = on_shard
        self._stream = self._begun()

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
        while len(rows):
            if self.rows and self.rows % SHARD_ROWS == 0:
                self._end(SHARD_ROWS)
                self._stream = self._begun()
            fitting = rows[: SHARD_ROWS - self.rows % SHARD_ROWS]
            self._stream.write(np.ascontiguousarray(fitting).data)
            self.rows += len(fitting)
            rows = rows[len(fitting) :]

    def replace(self, number: int, row: Values) -> None:
        """Write `row` in the place of one that was added before."""
        if not 0 <= number < self.rows or row.shape != self._row_shape or row.dtype != self._dtype:
            raise ValueError(f"row {number} of {self.rows} cannot become {row.dtype} {row.shape}")
        self._stream.flush()
        shard, first_byte = self.place_of(number)
        with shard_path(self._folder, shard).open("r+b") as stream:
            stream.seek(first_byte)
            stream.write(np.ascontiguousarray(row).data)

    def place_of(self, number: int, view: int = 0) -> tuple[int, int]:
        """Return the shard of row `number`, written or not, and the first byte of its `view`."""
        shard, row = divmod(number, SHARD_ROWS)
        size = self._dtype.itemsize * int(np.prod(self._row_shape))
        return shard, self._first_byte + row * size + view * (size // self._row_shape[0])

    def close(self) -> None:
        """Complete the last shard; without any row it is an empty one, which tells the shape."""
        before = max(self.rows - 1, 0) // SHARD_ROWS * SHARD_ROWS
        self._end(self.rows - before)

    def abandon(self) -> None:
        """Close the file of an array that stays unfinished."""
        with contextlib.suppress(OSError):  # of a full disk, which has been told
            self._stream.close()

    def _begun(self) -> BinaryIO:
        stream = shard_path(self._folder, self.rows // SHARD_ROWS).open("wb")
        self._write_header(stream, 0)
        self._first_byte = stream.tell()
        return stream

    def _end(self, rows: int) -> None:
        self._stream.seek(0)
        self._write_header(self._stream, rows)
        self._stream.close()
        if self._on_shard:
            self._on_shard(Path(self._stream.name))

    def _write_header(self, stream: BinaryIO, rows: int) -> None:
        # NumPy pads the header so that a growing first axis never changes its length.
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (rows, *self._row_shape),
        }
        np.lib.format.write_array_header_1_0(stream, header)


@contextlib.contextmanager
def written_rows(
    folder: Path,
    row_shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    on_shard: Callable[[Path], None] | None = None,
) -> Iterator[RowWriter]:
    """A `RowWriter` of the shards in `folder`, which is there only once it is whole.

    After an exception nothing is left, and what was at `folder` before is still there.
    """
    with artifacts.staged_folder(folder) as staged:
        writer = RowWriter(staged, row_shape, dtype, on_shard)
        try:
            yield writer
            writer.close()
        finally:
            writer.abandon()


@dataclasses.dataclass(frozen=True)
class _Layout:
    """What the headers of all shards say."""

    rows: int
    row_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    first_byte: int

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.row_shape))


class RowFile:
    """An array of `shape` (views, rows, ...) in a folder of shards; memory holds what is asked for.

    On disk a row has all its views. A memory map would keep every page that a training has touched.
    A pickled one opens the same path elsewhere, and refuses other files there.
    """

    def __init__(self, path: Path, *, has_views: bool) -> None:
        """Open the shards in the folder `path`; `ArtifactError` if they are no array."""
        self.path, self.has_views = path, has_views
        self._layout = layout = _read_layout(path)
        views, row_shape = (1, layout.row_shape)
        if has_views and row_shape:
            views, row_shape = row_shape[0], row_shape[1:]
        if not row_shape:
            raise ArtifactError(f"{path} is no array of rows: run `dvc repro`")
        self.shape: tuple[int, ...] = (views, layout.rows, *row_shape)
        self.dtype = layout.dtype
        self._shards = NumberedFiles(functools.partial(shard_path, path))

    def __len__(self) -> int:
        return self.shape[1]

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.path.absolute(), self.has_views, self._mark())

    def _mark(self) -> bytes:
        """A digest of the layout and of the first and the last bytes."""
        digest = hashlib.sha256(repr(self._layout).encode())
        for number in (0, max(0, len(self) - 1) // SHARD_ROWS):
            for start in (0, max(0, self._shards.size(number) - MARKED_BYTES)):
                digest.update(self._shards.read(number, MARKED_BYTES, start))
        return digest.digest()

    def take(self, views: Integers, rows: Integers) -> Values:
        """The values at `views` and `rows`, both (n,): (n, ...).

        Raises:
            ArtifactError: a row that the array does not have.
        """
        chosen = np.empty((len(rows), *self.shape[2:]), self.dtype)
        size = self._layout.row_bytes // self.shape[0]
        for place, view, row in zip(chosen, views.tolist(), rows.tolist(), strict=True):
            inside = 0 <= view < self.shape[0] and 0 <= row < len(self)
            if not inside or not self._fill(place, row, view * size):
                raise ArtifactError(f"{self.path} has no row {row}: run `dvc repro`")
        return chosen

    def _fill(self, place: Values, row: int, skipped: int) -> bool:
        """Read `place` from so many bytes after the beginning of `row`; whether they are there."""
        shard, within = divmod(row, SHARD_ROWS)
        start = self._layout.first_byte + within * self._layout.row_bytes + skipped
        return self._shards.fill(shard, place, start)

    def of_rows(self, rows: Integers) -> Values:
        """View 0 of `rows`; as `take`."""
        return self.take(np.zeros_like(rows), rows)


def _read_layout(folder: Path) -> _Layout:
    """What the shards in `folder` hold; `ArtifactError` if one is missing, damaged, or unlike."""
    names = sorted(path.name for path in folder.glob("*")) if folder.is_dir() else []
    found: list[_Layout] = []
    for number in range(max(len(names), 1)):
        path = shard_path(folder, number)
        try:
            mapped = np.lib.format.open_memmap(path, mode="r")
        except (OSError, *UNREADABLE) as error:
            raise ArtifactError(f"{path} is no array file ({error}): run `dvc repro`") from error
        shape = mapped.shape
        if not shape or not mapped.flags.c_contiguous:
            raise ArtifactError(f"{path} is no array of rows: run `dvc repro`")
        found.append(_Layout(shape[0], shape[1:], mapped.dtype, mapped.offset))
    first, whole = found[0], dataclasses.replace(found[0], rows=SHARD_ROWS)
    unlike = any(one != whole for one in found[:-1])
    if (
        unlike
        or dataclasses.replace(found[-1], rows=SHARD_ROWS) != whole
        or found[-1].rows > SHARD_ROWS
    ):
        raise ArtifactError(f"{folder}: its files are no shards of one array: run `dvc repro`")
    return dataclasses.replace(first, rows=sum(one.rows for one in found))


def _reopened(path: Path, has_views: bool, mark: bytes) -> RowFile:
    """The same array on another machine."""
    if not path.is_dir():
        raise ArtifactError(f"{path} is not on {platform.node()}: give execution.files=sent")
    opened = RowFile(path, has_views=has_views)
    if opened._mark() != mark:
        raise ArtifactError(
            f"{path} has other values on {platform.node()}: give execution.files=sent"
        )
    return opened


class PixelFile:
    """Canonical pixels, uint8 `shape` (images, side, side), of which memory holds what is asked."""

    def __init__(self, path: Path, rows: Integers) -> None:
        """Open the folder of shards `path`, which has `rows`.

        Raises:
            ArtifactError: it is missing or damaged, or has not these rows.
        """
        self._file = RowFile(path, has_views=False)
        self.shape = self._file.shape[1:]
        if self._file.dtype != np.uint8 or len(self.shape) != 3 or self.shape[1] != self.shape[2]:
            raise ArtifactError(
                f"{path} holds {self._file.dtype} {self.shape}: run the ingest stage"
            )
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise ArtifactError(
                f"{path} has {len(self)} images, the records ask for number {rows.max()}: "
                "run the ingest stage"
            )

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | Integers | slice) -> Pixels:
        """Return an image, uint8 (side, side), or several, (n, side, side)."""
        chosen = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows)
        flat = chosen.reshape(-1)
        return self._file.of_rows(flat).reshape(*chosen.shape, *self.shape[1:])
