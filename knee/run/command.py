"""The command line that all commands share.

A stage runs alone on its outputs, ends with the dvc that started it, and turns its user's mistakes
and a full disk into one line on stderr and exit status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import errno
import logging
import os
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from knee.run import locks, parameters, termination
from knee.run.errors import UserError

Paths = TypeVar("Paths")
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
GIVES_WAY = "KNEE_GIVES_WAY"  # in the environment of a stage, 1: others have the cores first
LEAST_URGENT = 19
INTERRUPTED = 130  # 128 and the number of SIGINT
MAKE_ROOM = "free some space and run it again: what is finished is kept"


def flag(explanation: str) -> Any:
    """Declare a flag of a stage: a field of its frozen dataclass of paths.

    The field's name gives the flag's (`split_metrics`: --split-metrics), its type (`Path` or
    `str`) the value's, `explanation` the line of --help. Names that end in _out are outputs.

    Example:
        @dataclasses.dataclass(frozen=True)
        class Paths:
            records: Path = command.flag("records table")
            split_out: Path = command.flag("subset and fold of each record")
    """
    return dataclasses.field(metadata={"explanation": explanation})


def optional_flag(explanation: str) -> Any:
    """Declare a path that may be left out; the field is None then."""
    return dataclasses.field(default=None, metadata={"explanation": explanation, "parse": Path})


def repeated_flag(explanation: str, parse: Callable[[str], Any]) -> Any:
    """Declare a flag that may be given several times; the field is the tuple of parsed values."""
    return dataclasses.field(default=(), metadata={"explanation": explanation, "parse": parse})


def stage(
    name: str,
    description: str | None,
    paths: type[Paths],
    work: Callable[[parameters.Params, Paths], None],
) -> Callable[..., int]:
    """Return the `main` of a stage's module: it parses the command line and does the work.

    It takes the words after the command's name, or those of the process, and returns the exit
    status.

    Args:
        name: of the stage.
        description: what --help says above the flags.
        paths: the stage's dataclass of `flag` fields; `backbone`, if there is one, tells the items
            of a stage apart.
        work: what the stage does, called with the parameters and the given paths.
    """

    def main(argv: Sequence[str] | None = None) -> int:
        given, params = _parse(description, paths, argv)

        def work_alone() -> int:
            settings = parameters.load(params)
            if os.environ.pop(GIVES_WAY, "") == "1":
                os.nice(LEAST_URGENT)
            with termination.raised(), _exclusive_run(name, vars(given)):
                work(settings, given)
            return 0

        return exit_status(name, work_alone)

    return main


class Help(argparse.RawDescriptionHelpFormatter):
    """--help that shows a description line by line, and the default of every flag."""

    def _get_help_string(self, action: argparse.Action) -> str:
        """The explanation of a flag, as argparse asks for it."""
        said, default = action.help or "", action.default
        is_told = not action.option_strings or action.required or default is argparse.SUPPRESS
        if is_told or "default: " in said:
            return said
        nothing = "off" if default is False else "none" if default in (None, "", []) else ""
        return f"{said}; default: {nothing or '%(default)s'}"


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser that has --params, and whose --help shows `description` line by line."""
    made = argparse.ArgumentParser(description=description, formatter_class=Help)
    made.add_argument("--params", type=Path, default=Path("params.yaml"), help="the parameters")
    return made


def alarm(text: str) -> None:
    """Log `text` as a warning, in red on a terminal."""
    logging.warning("%s", f"\033[1;31m{text}\033[0m" if sys.stderr.isatty() else text)


def exit_status(name: str, work: Callable[[], int]) -> int:
    """Return the status of `work`, which logs; 1 after a user's mistake, told in one line.

    After Ctrl-C it is 130, as of a program that SIGINT has ended. SIGTERM ends it as an exception,
    so that temporary files go.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        with termination.raised():
            return work()
    except (UserError, OSError) as error:
        message = _plain(error) if isinstance(error, OSError) else error
        sys.stderr.write(f"{name}: {message}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"{name}: interrupted\n")
        return INTERRUPTED


def _parse(
    description: str | None, paths: type[Paths], argv: Sequence[str] | None
) -> tuple[Paths, Path]:
    """The paths of the command line, and that of the parameters."""
    words = parser(description)
    types = typing.get_type_hints(paths)
    for field in dataclasses.fields(typing.cast(Any, paths)):
        options: dict[str, Any] = {"help": field.metadata["explanation"]}
        if "parse" in field.metadata:
            options |= {"type": field.metadata["parse"]}
            if field.default is not None:
                options |= {"action": "append", "default": []}
        else:
            options |= {"type": types[field.name], "required": True}
        words.add_argument(f"--{field.name.replace('_', '-')}", **options)
    values = vars(words.parse_args(argv))
    params: Path = values.pop("params")
    tuples = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    return paths(**{**values, **tuples}), params


def _exclusive_run(name: str, values: dict[str, Any]) -> contextlib.AbstractContextManager[None]:
    """The lock of the outputs among a stage's `values`, as `alone` holds it."""
    output = next(path for key, path in values.items() if key.endswith("_out"))
    return alone(f"{name}@{values['backbone']}" if "backbone" in values else name, output)


@contextlib.contextmanager
def alone(item: str, output: Path) -> Iterator[None]:
    """Hold the lock of a command's `output`, and stop if the dvc that started us has gone."""
    output = output.absolute()
    project = next((root for root in output.parents if (root / ".dvc").is_dir()), None)
    if project is None:
        file = output.with_name(f".{item}.lock")
    else:  # of a queued experiment: that of its copy of the project
        file = project / ".dvc" / "tmp" / "stages" / f"{item}.lock"
    with locks.held(file, item):
        if project is not None:
            termination.follow_dvc(project, output)
        yield


def _plain(error: OSError) -> str:
    said = error.strerror or str(error) or type(error).__name__
    name = error.filename2 or error.filename  # of a copy the second is what was written
    named = f"{os.fsdecode(name)}: {said}" if name else said
    return f"{named}: {MAKE_ROOM}" if error.errno in FULL else named
