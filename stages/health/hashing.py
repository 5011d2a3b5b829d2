"""MD5 of many files at once. DVC names its objects by it: against accidents, not against malice."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tqdm import tqdm

READERS = min(8, os.cpu_count() or 1)  # hashing lets other threads run


def md5_of(path: Path) -> str | None:
    """MD5 of a file in hexadecimal, or None if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(
                file, partial(hashlib.md5, usedforsecurity=False)
            ).hexdigest()
    except OSError:
        return None


def md5_of_all(paths: Iterable[Path], doing: str) -> Iterator[tuple[Path, str | None]]:
    """Each path with the MD5 of its file, in order; with a progress bar on a terminal."""
    waiting = list(paths)
    with ThreadPoolExecutor(READERS) as pool:
        digests = pool.map(md5_of, waiting)
        yield from zip(
            waiting,
            tqdm(digests, doing, len(waiting), leave=False, unit="file", disable=None),
            strict=True,
        )
