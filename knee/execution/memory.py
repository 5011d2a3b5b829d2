"""The memory that a process has freed, and keeps for what it does next."""

from __future__ import annotations

import ctypes
import functools
import platform
from typing import Final

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # numbers of mallopt's parameters
KEPT_BYTES: Final = 256 * 2**20  # freed, at most
ARRAY_BYTES: Final = 32 * 2**20  # of an array whose memory is kept; glibc takes no more


@functools.cache
def keep_freed() -> None:
    """Keep the memory of freed arrays for the next ones, where the C library is glibc.

    It gives the memory of an array of some megabytes back to the system at once, and takes as
    much again for the next one, page by page: a quarter of the time of work that makes one such
    array after another. https://man7.org/linux/man-pages/man3/mallopt.3.html
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(MMAP_THRESHOLD, ARRAY_BYTES)
        library.mallopt(TRIM_THRESHOLD, KEPT_BYTES)
