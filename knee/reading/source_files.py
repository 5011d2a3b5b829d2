"""Source files: the list of all below a folder, and the bytes of one."""

from __future__ import annotations

import dataclasses
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from knee.reading.decoded import UnreadableImage
from knee.run.errors import UserError
from knee.run.messages import listed

MAXIMUM_FILE_BYTES: Final = 1 << 30  # 64 megapixels of three 32-bit channels are 3/4 of it
ARCHIVE_SUFFIXES: Final = frozenset(
    (".zip", ".tar", ".tgz", ".gz", ".bz2", ".tbz2", ".xz", ".txz", ".7z", ".rar")
)


class FolderError(UserError):
    """The data folder cannot be used as a whole."""


@dataclasses.dataclass(frozen=True, slots=True)
class SourceFile:
    """One source file."""

    name: str  # POSIX path relative to the data folder or archive
    path: Path
    label: str  # its class, by its folder or the sheet; "" if neither tells
    obstacle: str = ""  # the reason why it is not opened; "" if it is
    part: str = ""  # official part (train, val, test) by its top folder; "" where there are none
    listed: bool = True  # by a sheet of labels; a file that is not was never meant to be used


def class_folders(
    folder: Path, classes: Sequence[str], *, shown: object = "", parts: Sequence[str] = ()
) -> list[str]:
    """Return the class names in order: `classes`, or the names of the sub-folders sorted by bytes.

    `shown` is what messages call the folder, where it is an unpacked archive. With `parts` the
    class folders lie in folders of these names, as far as they are there.

    Raises:
        FolderError: no folder, no sub-folder, or sub-folders that are not the `classes`.
    """
    shown = shown or folder
    names = _sub_folders(folder, shown)
    if parts:
        names = _below_parts(folder, parts, names, shown)
    if not names:
        raise FolderError(
            f"{shown} has no sub-folder: give each class a folder with its images, or name a sheet "
            "with the labels (data.sheet)"
        )
    absent = [name for name in classes if name not in names]
    if absent:
        raise FolderError(
            f"data.classes names {listed(absent)}, but {shown} has only {listed(names)}"
        )
    unnamed = [name for name in names if classes and name not in classes]
    if unnamed:
        raise FolderError(
            f"{shown} has {listed(unnamed)}, which data.classes does not name: "
            "add to data.classes, or move the folder away"
        )
    return list(classes) or names


def list_sources(
    folder: Path, *, labelled: bool = True, parts: Sequence[str] = ()
) -> list[SourceFile]:
    """Return every file below `folder`, in the order of the names' bytes.

    Links are followed; a link back to a folder that contains it is listed as an unusable file.
    The label is that of the class folder; with `labelled` False none has a label or needs one.
    With `parts` the class folders lie in folders of these names, and other files are unusable.
    """
    sources = [_source(path, folder, why, labelled, parts) for path, why in _walk(folder, ())]
    return sorted(sources, key=lambda source: source.name.encode())


def read(source: SourceFile) -> bytes:
    """Return the bytes of `source`; `UnreadableImage` if it is no file, or cannot be read."""
    if source.obstacle:
        raise UnreadableImage(source.obstacle)
    try:
        if source.path.stat().st_size > MAXIMUM_FILE_BYTES:
            raise UnreadableImage(f"larger than {MAXIMUM_FILE_BYTES >> 20} MiB")
        return source.path.read_bytes()
    except OSError as error:
        raise UnreadableImage(f"cannot be read: {_cause(error)}") from error


def _sub_folders(folder: Path, shown: object) -> list[str]:
    """Names of the folders in `folder` that are not hidden, sorted by bytes."""
    if not folder.is_dir():
        raise FolderError(
            f"{shown} is not a folder: set data.path to one with a folder a class, or to an "
            "archive of one"
        )
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if not e.name.startswith(".") and e.is_dir()]
    except OSError as error:
        raise FolderError(f"{shown} cannot be listed: {_cause(error)}") from error
    return sorted(names, key=os.fsencode)


def _below_parts(
    folder: Path, parts: Sequence[str], present: Sequence[str], shown: object
) -> list[str]:
    """Names of the class folders in those of `parts` that are there, sorted by bytes."""
    here = [name for name in parts if name in present]
    if not here:
        raise FolderError(
            f"data.parts names {listed(parts)}, but {shown} has none of them: empty data.parts "
            "where the class folders lie in data.path itself"
        )
    names = {name for part in here for name in _sub_folders(folder / part, f"{shown}/{part}")}
    return sorted(names, key=os.fsencode)


def _walk(path: Path, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[Path, str]]:
    """A file, or all below a folder, each with the reason why it cannot be opened, or "".

    `above` holds device and inode of the folders that contain it.
    """
    try:
        status = path.stat()
    except OSError as error:
        loop = error.errno == errno.ELOOP
        broken = "broken link" if path.is_symlink() else f"cannot be read: {_cause(error)}"
        yield path, "link to itself" if loop else broken
        return
    identity = (status.st_dev, status.st_ino)
    if not stat.S_ISDIR(status.st_mode):
        yield path, "" if stat.S_ISREG(status.st_mode) else "not a regular file"
    elif identity in above:
        yield path, "link to a folder that contains it"
    else:
        try:
            names = os.listdir(path)  # noqa: PTH208 - names alone: a folder may hold 100,000
        except OSError as error:
            names = []
            yield path, f"folder cannot be read: {_cause(error)}"
        for name in names:
            yield from _walk(path / name, (*above, identity))


def _source(
    path: Path, root: Path, obstacle: str, labelled: bool, parts: Sequence[str]
) -> SourceFile:
    steps = path.relative_to(root).parts
    name = os.fsencode("/".join(steps)).decode("utf-8", "backslashreplace")
    part = steps[0] if steps[0] in parts else ""
    inner = steps[1:] if parts else steps
    faults = (
        (any(step.startswith(".") for step in steps), "hidden"),
        (bool(parts) and not part, f"in none of the folders {', '.join(parts)}"),
        (labelled and len(inner) == 1, "in no class folder"),
        (name != "/".join(steps), "name is not UTF-8: rename the file"),
        (path.suffix.lower() in ARCHIVE_SUFFIXES, "an archive inside the data: unpack it"),
    )
    obstacle = obstacle or next((reason for is_so, reason in faults if is_so), "")
    in_class = labelled and len(inner) > 1 and not inner[0].startswith(".")
    in_class = in_class and (part != "" or not parts)
    return SourceFile(name, path, inner[0] if in_class else "", obstacle, part)


def _cause(error: OSError) -> str:
    """The system's message, without the path."""
    return error.strerror or type(error).__name__
