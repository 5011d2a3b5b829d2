"""The end of a process: on a signal, or when the dvc that started it is gone.

`kill -9` of dvc alone leaves its stage running, and what the stage writes then would end up in
the outputs of a later run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

import psutil

from knee.run import dvc_notes
from knee.run.errors import UserError

CLEAN_UP_SECONDS: Final = 20.0  # further signals are ignored: a killed group is told twice


class Terminated(SystemExit):
    """SIGTERM has arrived."""


class OrphanError(UserError):
    """The dvc that started this stage is gone."""


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Raise `Terminated` in the main thread on SIGTERM, so that what is under way is cleaned up.

    Within another such block it changes nothing, nor where the program has a handler of its own.
    """
    on_main = threading.current_thread() is threading.main_thread()
    if not on_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    first = float("-inf")

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        nonlocal first
        if time.monotonic() - first > CLEAN_UP_SECONDS:
            first = time.monotonic()
            raise Terminated(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def follow_dvc(root: Path, output: Path) -> None:
    """End like on SIGTERM when the dvc ends that started this process; without dvc do nothing.

    That dvc wrote itself down for `output`. It has to be an ancestor of this process: while the
    libraries of a stage are imported it may have ended, and another begun.

    Raises:
        OrphanError: it has ended already.
    """
    starter = dvc_notes.starter(root, output)
    if starter is None or "DVC_STAGE" not in os.environ:
        return
    dvc = next((one for one in psutil.Process().parents() if one.pid == starter), None)
    if dvc is None:
        raise OrphanError("the dvc that started this is gone: run `dvc repro` again")
    threading.Thread(target=end_after, args=(dvc,), daemon=True).start()


def end_after(starter: psutil.Process) -> None:
    """Wait for the end of `starter`, then end this process like on SIGTERM; for a thread."""
    starter.wait()
    os.kill(os.getpid(), signal.SIGTERM)
