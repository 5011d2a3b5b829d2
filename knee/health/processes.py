"""Which processes live, hold a lock or have a file open."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

CLOCK_TOLERANCE_SECONDS = 2.0
PROC_LOCKS = Path("/proc/locks")


def alive(pid: int, before: float | None = None) -> bool:
    """Whether a process of that number lives, and began before a time (seconds since 1970).

    A number is given to a new process after the old one ended: one that began after its number
    was written down is another.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        started = float(process.create_time())
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True  # it is there, and not ours to look at
    return before is None or started <= before + CLOCK_TOLERANCE_SECONDS


def lock_holder(path: Path) -> int | None:
    """The process that holds a lock on `path`: its number, 0 if unknown, None if nobody does.

    Linux lists locks, so that looking never gets in the way of a process that takes one.
    """
    if not path.exists():
        return None
    if PROC_LOCKS.exists():
        return _listed_holder(path)
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return 0
    return None


def _listed_holder(path: Path) -> int | None:
    facts = path.stat()
    for line in PROC_LOCKS.read_text(encoding="ascii").splitlines():
        words = line.split()
        if len(words) < 6 or "->" in words:  # "->": one that waits
            continue
        major, minor, inode = words[-3].split(":")
        device = (int(major, 16) << 8 | int(minor, 16)) if major else 0
        if int(inode) == facts.st_ino and device in (_device(facts.st_dev), 0):
            return int(words[4])
    return None


def _device(number: int) -> int:
    return os.major(number) << 8 | os.minor(number)


def working_in(folder: Path, word: str) -> bool:
    """Whether another process works in `folder` whose command has `word` in it."""
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            inside = Path(process.cwd()).is_relative_to(folder)
            if inside and process.pid != os.getpid() and word in " ".join(process.cmdline()):
                return True
    return False


def files_in_use() -> set[Path]:
    """Files that processes have open and folders that they work in, as far as we may see."""
    return set(_in_use())


def _in_use() -> Iterator[Path]:
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            yield Path(process.cwd())
            for file in process.open_files():
                yield Path(file.path)
