"""Many files of one kind, read at any place by any thread; only some of them are open at a time."""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt

MOST_OPEN: Final = 64  # a million images have a thousand shards, as many as a process may open


class _OpenFile:
    """A descriptor that is closed when nobody reads from it any more."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.descriptor)


class NumberedFiles:
    """Files by their numbers; each method raises `OSError` for one that cannot be read."""

    def __init__(self, path_of: Callable[[int], Path]) -> None:
        """Take the path of each number; nothing is opened yet."""
        self._open = functools.lru_cache(MOST_OPEN)(lambda number: _OpenFile(path_of(number)))

    def size(self, number: int) -> int:
        """Return the bytes of a file."""
        return os.fstat(self._open(number).descriptor).st_size

    def read(self, number: int, size: int, start: int) -> bytes:
        """Return `size` bytes from the byte `start` on, or less where the file ends before."""
        file = self._open(number)  # kept while it is read, whoever closes it
        return os.pread(file.descriptor, size, start)

    def fill(self, number: int, place: npt.NDArray[Any], start: int) -> bool:
        """Read the contiguous `place` from the byte `start` on; return whether all is there."""
        file = self._open(number)
        return os.preadv(file.descriptor, [place.data], start) == place.nbytes
