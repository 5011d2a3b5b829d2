"""What takes long to make is made once a test run, by the worker that asks first, and copied."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path


def made_once(base: Path, name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` that all workers of a test run share, once `make` has filled it.

    Args:
        base: pytest's base folder of this worker.
        name: of the shared folder.
        make: gets the folder's path, which does not exist.
    """
    common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, note = common / name, common / f"{name}.made"
    with (common / f"{name}.lock").open("a", encoding="utf-8") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not note.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            note.touch()
    return folder
