"""Outputs on disk: written beside, then moved into place, so that none is ever half there.

What is moved is on the disk before: a power cut leaves the old file or the new one, never an empty
one.
"""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pandas as pd

from knee.run.errors import UserError

# How a text begins that a spreadsheet program takes for a formula (OWASP, CSV injection).
FORMULA: Final = r"(\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n])"
MAY_RUN: Final = re.compile(rf"'*{FORMULA}")
MADE_TEXT: Final = re.compile(rf"'+{FORMULA}")
NO_TABLE: Final = (ValueError, TypeError, OverflowError)  # of pandas, for a file that is none
UNSUPPORTED = {errno.EINVAL, errno.ENOTSUP}  # of file systems that cannot be told to write


class ArtifactError(UserError):
    """A file of the pipeline is missing or damaged, or does not belong to the others."""


def read_bytes(path: Path) -> bytes:
    """Return the content of `path`; `ArtifactError` says what to run where it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} does not exist: run `dvc repro`") from error
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read ({error.strerror}): run `dvc repro`") from error


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`; its folder is made where it is missing."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`; its folder is made where it is missing."""
    with staged_file(path) as staged:
        staged.write_bytes(content)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write `values`, indented, in their own order; NaN is refused."""
    write_text(path, json.dumps(values, indent=2, allow_nan=False) + "\n")


@contextmanager
def staged_file(destination: Path) -> Iterator[Path]:
    """A path beside `destination`; its file takes that place once the block has ended well.

    After an exception nothing is left, and what was at `destination` before is still there.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    staged = destination.with_name(f".{destination.stem}.staged{destination.suffix}")
    try:
        with naming(destination):
            yield staged
            to_disk(staged)
            staged.replace(destination)
            entry_to_disk(destination.parent)
    finally:
        staged.unlink(missing_ok=True)


@contextmanager
def staged_folder(destination: Path) -> Iterator[Path]:
    """Likewise a folder; an old one goes only once the new one is whole."""
    staged = destination.with_name(f".{destination.name}.staged")
    old = destination.with_name(f".{destination.name}.old")
    shutil.rmtree(staged, ignore_errors=True)
    try:
        with naming(destination):
            staged.mkdir(parents=True)
            yield staged
            to_disk(staged)
            shutil.rmtree(old, ignore_errors=True)
            if destination.exists():
                destination.replace(old)
            staged.replace(destination)
            entry_to_disk(destination.parent)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def to_disk(path: Path) -> None:
    """Wait until the file or folder `path`, with all in it, is on the disk."""
    for part in [path, *path.rglob("*")]:
        if not part.is_symlink() and (part.is_file() or part.is_dir()):
            entry_to_disk(part)


def entry_to_disk(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)


def link(file: Path, place: Path) -> None:
    """Give a file that is never changed a second name; where there are no links, a copy."""
    try:
        os.link(file, place)
    except OSError:
        shutil.copyfile(file, place)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give `path` to an error of the system that names no file, as that of a full disk does."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


def as_csv(table: pd.DataFrame) -> str:
    """Text quoted, so that no file's name can break a row or be a formula; numbers bare."""
    safe = without_formulas(table)
    return str(safe.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n"))


def without_formulas(table: pd.DataFrame) -> pd.DataFrame:
    """Return `table` with ' before each text that a spreadsheet program would calculate.

    A text that has ' before such a beginning gets one more, so that `with_all_texts` gives back
    every text as it was.
    """
    return _changed(table, MAY_RUN, "'{}".format)


def with_all_texts(table: pd.DataFrame) -> pd.DataFrame:
    """Return `table`, read from a file, with the texts as they were before `without_formulas`."""
    return _changed(table, MADE_TEXT, lambda text: text[1:])


def _changed(
    table: pd.DataFrame, pattern: re.Pattern[str], change: Callable[[str], str]
) -> pd.DataFrame:
    """`table` with a change of the texts that begin with `pattern`."""

    def begins(cell: object) -> bool:
        return isinstance(cell, str) and pattern.match(cell) is not None

    result = table.copy(deep=False)
    for name in table.columns:
        column = table[name]
        if not pd.api.types.is_numeric_dtype(column) and column.map(begins).any():
            result[name] = column.map(lambda cell: change(cell) if begins(cell) else cell)
    return result


def read_json(path: Path, keys: Sequence[str] = ()) -> dict[str, Any]:
    """Return the JSON object in the file `path`, which has at least these `keys`.

    Raises:
        ArtifactError: it is missing, damaged, no object, or lacks a key.
    """
    content = read_bytes(path)
    try:
        value = json.loads(content)
    except ValueError as error:
        raise ArtifactError(f"{path} is not JSON ({error}): delete it, run `dvc repro`") from error
    if not isinstance(value, dict):
        raise ArtifactError(f"{path}: expected a JSON object; run `dvc repro`")
    for name in keys:
        if name not in value:
            raise ArtifactError(f"{path} has no key {name}: run `dvc repro` to make it again")
    return value


def read_json_if_present(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in the file `path`, None where there is no such file."""
    return read_json(path) if path.exists() else None
