"""One process at a time on the same outputs: a lock that the system frees when its holder ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from knee.run.errors import UserError

GRACE_SECONDS = 10.0  # for a process that was told to end and is cleaning up
PAUSE_SECONDS = 0.1


class BusyError(UserError):
    """Another process holds the lock."""


@contextlib.contextmanager
def held(path: Path, what: str, grace_seconds: float = GRACE_SECONDS) -> Iterator[None]:
    """Hold the lock file `path`, which exists meanwhile and tells the process's number.

    Args:
        path: the same for all who must not run at once.
        what: is locked, for the message.
        grace_seconds: how long to try.

    Raises:
        BusyError: another process holds it, and does not end in time.
    """
    missing = [folder for folder in path.parents if not folder.exists()]
    deadline = time.monotonic() + grace_seconds
    while (descriptor := _try(path)) is None:
        if time.monotonic() > deadline:
            raise BusyError(
                f"{what} is being made by process {_holder(path)}: wait for it, or end it "
                f"(lock {path})"
            )
        time.sleep(PAUSE_SECONDS)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: who waits sees that it is gone
        os.close(descriptor)
        with contextlib.suppress(OSError):  # not empty
            for folder in missing:
                folder.rmdir()


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


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip() or "(number not known)"
    except (OSError, ValueError):
        return "(number not known)"
