"""The manifest of a folder: path, bytes and SHA-256 of every file, a row each, in order of paths.

It stands as DVC's dependency in place of a folder of very many files: DVC hashes one file, and
ingest, which hashes every file that it reads, compares. A file of hashes beside it remembers which
files had which size and modification time, so that only others are read again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from stat import S_ISREG
from typing import Any, Final, NamedTuple

import pandas as pd
from tqdm import tqdm

from knee.intake import inputs
from knee.reading import source_files
from knee.reading.source_files import SourceFile
from knee.run.errors import UserError
from knee.run.messages import escaped, listed, quoted
from knee.storage import artifacts, provenance

COLUMNS: Final = {"path": "str", "bytes": "int64", "sha256": "str"}
KNOWN_COLUMNS: Final = {**COLUMNS, "modified_ns": "int64"}
KNOWN_SUFFIX: Final = ".known"  # of the file of hashes
SETTLED_NS: Final = 2_000_000_000  # a file may change again within the same tick of its clock
BATCH_FILES: Final = 1024
SHOWN: Final = 5  # faults, in a message


class ManifestError(UserError):
    """A manifest cannot be made or read, or the folder is not what it says."""


class Entry(NamedTuple):
    """A file of the folder; `modified_ns` is -1 where it may have changed since."""

    path: str
    bytes: int
    sha256: str
    modified_ns: int


class Made(NamedTuple):
    """How many files a manifest has, and of how many the content was read."""

    files: int
    read: int


def make(folder: Path, out: Path, *, afresh: bool = False) -> Made:
    """Write the manifest of `folder` to `out`; an unchanged folder gives the same bytes.

    A file of the same size and modification time as before is not read again, unless `afresh`.
    What was read is remembered after an interruption, too.

    Raises:
        ManifestError: no folder, a manifest inside it, a file that cannot be in one, or `out` is
            another file.
    """
    if not folder.exists():
        raise ManifestError(f"{folder} does not exist: give the folder of data.path")
    if not folder.is_dir():
        raise ManifestError(f"{folder} is not a folder: an archive needs no manifest")
    if out.resolve().is_relative_to(folder.resolve()):
        raise ManifestError(f"{out} lies in {folder}, whose files it lists: give another --out")
    if out.exists() and not _is_one(out):
        raise ManifestError(f"{out} is there already, and no manifest: give another --out")
    names = sorted(_names(folder), key=str.encode)
    if not names:
        raise ManifestError(f"{folder} has no file")
    beside = out.with_name(out.name + KNOWN_SUFFIX)
    known = {} if afresh else _known(beside)
    entries: list[Entry] = []
    try:
        with tqdm(total=len(names), desc="manifest", unit="file", disable=None) as bar:
            for entry in _entries(folder, names, known):
                entries.append(entry)
                bar.update()
    finally:
        rest = {} if len(entries) == len(names) else known
        kept = {**rest, **{entry.path: entry for entry in entries}}
        _write(beside, [kept[name] for name in sorted(kept, key=str.encode)], KNOWN_COLUMNS)
    _write(out, entries, COLUMNS)
    unread = sum(known.get(entry.path) is entry for entry in entries)
    return Made(len(entries), len(entries) - unread)


def read(path: Path) -> dict[str, tuple[int, str]]:
    """Return bytes and SHA-256 of each file by its path in the folder.

    Raises:
        ManifestError: it is none.
        OSError: it cannot be read.
    """
    table = _table(path, COLUMNS)
    if table is None:
        raise ManifestError(
            f"data.manifest: {path} is no manifest: make one by python -m stages.manifest"
        )
    facts = zip(table["bytes"].tolist(), table["sha256"].tolist(), strict=True)
    return dict(zip(table["path"].tolist(), facts, strict=True))


def checked(sources: Sequence[SourceFile], folder: Path, path: Path) -> list[SourceFile]:
    """Return `sources` of `folder` with the SHA-256 that each file has in the manifest at `path`.

    Raises:
        ManifestError: a file is in one of the two alone, or has another size; all are named that
            fit into the message.
    """
    rows = read(path)
    unseen = dict(rows)
    faults: list[str] = []
    found: list[SourceFile] = []
    for source in sources:
        size, row = _size(source.path), rows.get(source.name)
        unseen.pop(source.name, None)
        faults += _faults(source.name, size, row)
        found.append(replace(source, sha256=row[1]) if row else source)
    for name, row in unseen.items():
        faults += _faults(name, _size(folder / name), row)
    if faults:
        raise _differs(faults)
    return found


def check_content(source: SourceFile, sha256: str) -> None:
    """Raise `ManifestError` if the content of `source`, which has this hash, is another."""
    if source.sha256 not in ("", sha256):
        raise _differs([f"{quoted(source.name)} has another content"])


def _differs(faults: Sequence[str]) -> ManifestError:
    return ManifestError(
        f"data.manifest does not fit data.path: {listed(faults, SHOWN)}. Restore the folder, or, "
        "if it was changed on purpose: python -m stages.manifest FOLDER --out MANIFEST (and "
        "--afresh where a file has kept its size and time)"
    )


def _faults(name: str, size: int | None, row: tuple[int, str] | None) -> list[str]:
    """What is wrong with a file of this size, None of no file, by its row of the manifest."""
    if row is None:
        return [] if size is None else [f"{quoted(name)} is not in the manifest"]
    if size is None:
        return [f"{quoted(name)} is not there"]
    return [] if size == row[0] else [f"{quoted(name)} has {size} bytes instead of {row[0]}"]


def _size(path: Path) -> int | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size if S_ISREG(status.st_mode) else None


def _names(folder: Path) -> Iterator[str]:
    """Paths of the files below `folder`, without those of systems, as ingest lists them."""
    odd: list[str] = []
    for path, obstacle in source_files.walk(folder):
        steps = path.relative_to(folder).parts
        name = "/".join(steps)
        if any(source_files.OF_THE_SYSTEM.fullmatch(step) for step in steps):
            continue
        if obstacle.startswith(inputs.PASSED_OVER):
            continue
        obstacle = obstacle or ("" if escaped(name) == name else "its name is not UTF-8")
        if obstacle:
            odd.append(f"{quoted(escaped(name))} ({obstacle})")
        else:
            yield name
    if odd:
        raise ManifestError(f"{folder} has {listed(odd, SHOWN)}: remove or rename them")


def _entries(folder: Path, names: Sequence[str], known: dict[str, Entry]) -> Iterator[Entry]:
    """The entry of each name, in order; a known one itself where the file seems unchanged."""

    def entry(name: str) -> Entry:
        path, before = folder / name, known.get(name)
        status = path.stat()
        if before and (before.bytes, before.modified_ns) == (status.st_size, status.st_mtime_ns):
            return before
        digest, after = provenance.fingerprint(path), path.stat()
        if (after.st_size, after.st_mtime_ns) != (status.st_size, status.st_mtime_ns):
            raise ManifestError(f"{path} changes while it is read: run it again")
        settled = after.st_mtime_ns + SETTLED_NS < time.time_ns()
        return Entry(name, after.st_size, digest, after.st_mtime_ns if settled else -1)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, len(names), BATCH_FILES):
            yield from pool.map(entry, names[start : start + BATCH_FILES])


def _is_one(path: Path) -> bool:
    """Whether the file at `path` begins as a manifest does, or is empty."""
    header = artifacts.as_csv(pd.DataFrame(columns=list(COLUMNS))).encode()
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(header)) in (header, b"")


def _known(path: Path) -> dict[str, Entry]:
    """The entries of the file of hashes; none where it is missing or damaged."""
    table = _table(path, KNOWN_COLUMNS) if path.is_file() else None
    if table is None:
        return {}
    columns = (table[name].tolist() for name in Entry._fields)
    return {entry.path: entry for entry in map(Entry._make, zip(*columns, strict=True))}


def _table(path: Path, columns: dict[str, str]) -> pd.DataFrame | None:
    """The table at `path`; None if it has other columns or values."""
    try:
        with artifacts.naming(path):
            frame = pd.read_csv(path, dtype=columns, keep_default_na=False, encoding="utf-8")
    except artifacts.NO_TABLE:
        return None
    frame = artifacts.with_all_texts(frame) if list(frame.columns) == list(columns) else frame[:0]
    is_sound = frame["sha256"].str.fullmatch("[0-9a-f]{64}") if len(frame) else pd.Series([False])
    return frame if is_sound.all() and frame["path"].is_unique else None


def _write(path: Path, entries: Sequence[Entry], columns: dict[str, Any]) -> None:
    frame = pd.DataFrame(entries, columns=list(Entry._fields))[list(columns)]
    artifacts.write_text(path, artifacts.as_csv(frame.astype(columns)))
