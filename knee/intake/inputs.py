"""What a run reads, looked at before DVC hashes it.

DVC hashes every file of data.path before ingest runs. It ends at the first entry that it cannot
hash, mostly without its name, and reads a named pipe or an endless device without end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from knee.reading import source_files
from knee.run.errors import UserError
from knee.run.messages import escaped, listed, quoted

# Entries that DVC passes over, and ingest makes rows of.
PASSED_OVER: Final = (source_files.ABOVE, source_files.CLOSED)


class InputError(UserError):
    """A path among the parameters cannot be read; the message names the key."""


def check(key: str, path: Path) -> None:
    """Raise `InputError` if the value of `key` is not there, or has what DVC cannot hash."""
    if not path.exists():
        where = "" if path.is_absolute() else f" in {Path.cwd()}"
        remedy = "give an absolute path that does"
        raise InputError(f"{key}: {str(path)!r} does not exist{where}: {remedy}")
    if not path.is_dir() and not path.is_file():
        raise InputError(f"{key}: {str(path)!r} is neither a folder nor a file")
    odd = [f"{quoted(name)} ({reason})" for name, reason in _odd_entries(path)]
    if odd:
        raise InputError(
            f"{key}: DVC hashes {path} before ingest reads it, and cannot take {listed(odd, 5)}: "
            "remove or rename them"
        )


def check_folder(path: Path, manifest: Path) -> None:
    """Check `data.path`, or, where DVC hashes a manifest in its place, that both are there.

    Raises:
        InputError: as of `check`; or an archive, or a folder, has a manifest.
    """
    check("data.manifest" if manifest != path else "data.path", manifest)
    if manifest == path:
        return
    if not path.is_dir():
        raise InputError(
            f"data.path: {str(path)!r} is no folder: only one has a manifest (data.manifest)"
        )
    if not manifest.is_file():
        raise InputError(
            f"data.manifest: {str(manifest)!r} is no file: give one that python -m stages.manifest "
            "has made"
        )


def check_made(key: str, path: Path, name: str) -> None:
    """Raise `InputError` if `path`, of a data set that the pipeline makes, is not in its data/.

    The facts of the data set `name`, such as being synthetic, would be taken for those of `path`.
    """
    if path.parts[:1] != ("data",):
        raise InputError(
            f"{key}: {str(path)!r} is not where the data set {name} is made: for images of your "
            "own give -S data=folder, too"
        )


def _odd_entries(path: Path) -> Iterator[tuple[str, str]]:
    """Names and reasons of the entries below `path`, or of the file `path`."""
    for entry, obstacle in source_files.walk(path):
        name = str(entry.relative_to(path)) if entry != path else entry.name
        if obstacle and not obstacle.startswith(PASSED_OVER):
            yield escaped(name), obstacle
        elif escaped(name) != name:
            yield escaped(name), "its name is not UTF-8"
        elif entry.name == ".dvcignore":
            yield name, "DVC takes it for its own"
        elif not obstacle and not os.access(entry, os.R_OK):
            yield name, "may not be read"
