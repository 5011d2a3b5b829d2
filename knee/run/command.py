"""What the command lines of all stages do alike.

A stage runs alone on its outputs, ends with the dvc that started it, and turns its user's mistakes
and a full disk into one line on stderr and exit status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from knee.run import locks, parameters, termination

Work = Callable[[parameters.Params, argparse.Namespace], None]
ALWAYS: tuple[type[Exception], ...] = (
    parameters.ParamsError,
    locks.BusyError,
    termination.OrphanError,
    OSError,
)
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
MAKE_ROOM = "free some space and run `dvc repro` again: what is finished is kept"


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser that knows --params."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--params", type=Path, default=Path("params.yaml"))
    return made


def by_keyword(run: Callable[..., None]) -> Work:
    """For a `run` that takes each path as an argument of its own."""
    return lambda settings, arguments: run(settings, **vars(arguments))


def run(
    name: str,
    arguments: argparse.Namespace,
    work: Work,
    errors: tuple[type[Exception], ...] = (),
) -> int:
    """Do the `work` of a stage; called with the parameters and all other `arguments`.

    Args:
        name: of the stage.
        arguments: of a `parser`. Those whose names end in _out are outputs; `backbone`, if there
            is one, tells the items of a stage apart.
        work: what the stage does.
        errors: its user's mistakes, beside those of the parameters and of the file system.

    Returns:
        The exit status.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    termination.follow_dvc()
    try:
        settings = parameters.load(arguments.params)
        del arguments.params
        with termination.raised(), _alone(name, arguments):
            work(settings, arguments)
    except ALWAYS + errors as error:
        said = _plain(error) if isinstance(error, OSError) else error
        sys.stderr.write(f"{name}: {said}\n")
        return 1
    return 0


@contextlib.contextmanager
def _alone(name: str, arguments: argparse.Namespace) -> Iterator[None]:
    """Nothing else makes the same outputs meanwhile, and dvc waits for them."""
    values = vars(arguments)
    output = next(path for key, path in values.items() if key.endswith("_out")).absolute()
    item = f"{name}@{values['backbone']}" if "backbone" in values else name
    project = next((root for root in output.parents if (root / ".dvc").is_dir()), None)
    if project is None:
        file = output.with_name(f".{item}.lock")
    else:  # of a queued experiment: that of its copy of the project
        file = project / ".dvc" / "tmp" / "stages" / f"{item}.lock"
    with locks.held(file, item):
        if project is not None:
            termination.check_dvc(project, output)
        yield


def _plain(error: OSError) -> str:
    said = error.strerror or str(error) or type(error).__name__
    name = error.filename2 or error.filename  # of a copy the second is what was written
    named = f"{os.fsdecode(name)}: {said}" if name else said
    return f"{named}: {MAKE_ROOM}" if error.errno in FULL else named
