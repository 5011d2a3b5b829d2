"""One process at a time: locks on files, which the system frees when their holder ends.

They are advisory locks of the whole file (flock), as DVC's own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

from knee.run.errors import UserError

GRACE_SECONDS: Final = 10.0  # for a process that was told to end and is cleaning up
PAUSE_SECONDS: Final = 0.1
PROC_LOCKS: Final = Path("/proc/locks")


class BusyError(UserError):
    """Another process holds the lock."""


@contextlib.contextmanager
def held(
    path: Path, what: str, grace_seconds: float = GRACE_SECONDS, *, keep: bool = False
) -> Iterator[None]:
    """Hold the lock file `path`, which exists meanwhile and tells the process's number.

    Args:
        path: the same for all who must not run at once.
        what: is locked, for the message.
        grace_seconds: how long to try.
        keep: leave the file; for files that other programs lock, too. Else it is removed, and the
            folders that were made for it.

    Raises:
        BusyError: another process holds it, and does not end in time.
    """
    missing = [folder for folder in path.parents if not folder.exists()]
    deadline = time.monotonic() + grace_seconds
    while (descriptor := _try(path)) is None:
        if time.monotonic() > deadline:
            raise BusyError(f"{what} {in_use(holder(path) or _noted(path))} (lock {path})")
        time.sleep(PAUSE_SECONDS)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        if not keep:
            path.unlink(missing_ok=True)  # while it is held: who waits sees that it is gone
        os.close(descriptor)
        with contextlib.suppress(OSError):  # not empty
            for folder in [] if keep else missing:
                folder.rmdir()


def holder(path: Path) -> int | None:
    """Return the process that holds a lock on `path`: 0 if unknown, None if nobody does.

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
            return _noted(path)
    return None


def in_use(number: int) -> str:
    """Return who is at work and what to do about it, for a message; 0 is a number not known.

    A process that is stopped (Ctrl-Z, SIGSTOP) holds its locks until it is resumed or ended.
    """
    if not number:
        return (
            "is in use by a process (number not known, perhaps in another container): wait for it, "
            "or end it"
        )
    if is_stopped(number):
        return (
            f"is in use by process {number}, which is stopped: resume it (fg, or kill -CONT "
            f"{number}), or end it (kill -KILL {number})"
        )
    return f"is in use by process {number}: wait for it, or end it"


def is_stopped(number: int) -> bool:
    """Whether the process `number` is there and stopped."""
    try:
        return psutil.Process(number).status() in (
            psutil.STATUS_STOPPED,
            psutil.STATUS_TRACING_STOP,
        )
    except psutil.Error:
        return False


def _try(path: Path) -> int | None:
    """An open descriptor of `path`, locked; None if another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_ino == path.stat().st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):  # held, or removed by its holder just now
        pass
    os.close(descriptor)
    return None


def _noted(path: Path) -> int:
    """The number of the process that wrote itself into `path`; 0 if there is none."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _listed_holder(path: Path) -> int | None:
    facts = path.stat()
    for line in PROC_LOCKS.read_text(encoding="ascii").splitlines():
        words = line.split()
        if len(words) < 6 or "->" in words:  # "->": one that waits
            continue
        major, minor, inode = words[-3].split(":")
        device = (int(major, 16) << 8 | int(minor, 16)) if major else 0
        own = os.major(facts.st_dev) << 8 | os.minor(facts.st_dev)
        if int(inode) == facts.st_ino and device in (own, 0):
            return int(words[4])
    return None
