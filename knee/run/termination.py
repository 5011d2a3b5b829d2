"""How a process of the pipeline ends: when it is told to, or when the dvc that started it is gone.

`kill -9` of dvc alone leaves its stage running, and what the stage writes then would end up in
the outputs of a later run.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

import psutil

from knee.run import dvc_notes
from knee.run.errors import UserError

STATUS: Final = 128 + signal.SIGTERM
CLEAN_UP_SECONDS: Final = 20.0  # further signals are ignored: a killed group is told twice
PR_SET_PDEATHSIG: Final = 1  # of linux/prctl.h


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
            raise Terminated(STATUS)

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def follow_dvc() -> None:
    """Ask Linux for SIGTERM when the dvc that started this process ends; elsewhere do nothing.

    dvc starts a stage by a shell, which a single command replaces: dvc is the parent.
    """
    if sys.platform == "linux" and "DVC_STAGE" in os.environ:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def check_dvc(root: Path, output: Path) -> None:
    """Make sure that the dvc which wrote itself down for `output` is an ancestor of this process.

    Importing its libraries takes a stage seconds in which dvc may have ended, and another begun.

    Args:
        root: the project, whose dvc notes what it runs in .dvc/tmp/rwlock.
        output: of this stage.

    Raises:
        OrphanError: it is not.
    """
    starter = dvc_notes.starter(root, output)
    ancestors = (process.pid for process in psutil.Process().parents())
    if "DVC_STAGE" in os.environ and starter is not None and starter not in ancestors:
        raise OrphanError("the dvc that started this is gone: run `dvc repro` again")
