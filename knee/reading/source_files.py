"""Source files: the list of all below a folder, and the bytes of one."""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from knee.reading.decoded import UnreadableImage
from knee.records.official_parts import part_of
from knee.run.errors import UserError
from knee.run.messages import escaped, folded, listed, override, quoted

MAXIMUM_FILE_BYTES: Final = 1 << 30  # 64 megapixels of three 32-bit channels are 3/4 of it
ARCHIVE_SUFFIXES: Final = frozenset(
    (".zip", ".tar", ".tgz", ".gz", ".bz2", ".tbz2", ".xz", ".txz", ".7z", ".rar")
)
ABOVE: Final = "link to a folder that contains it"
MOST_FOLDERS: Final = 200  # one in another
OUTSIDE: Final = ("in no class folder", "in none of the folders")  # how such reasons begin
CLOSED: Final = "folder cannot be read"
# What systems and programs put beside the files of a user: macOS, Windows, network storage, Git,
# Jupyter, editors, open spreadsheets.
OF_THE_SYSTEM: Final = re.compile(
    r"\._.*|\.DS_Store|__MACOSX|\.Spotlight-V100|\.Trash(es|-\d+)|\.fseventsd|\.AppleDouble"
    r"|(?i:thumbs\.db|ehthumbs\.db|desktop\.ini)|\$RECYCLE\.BIN|System Volume Information"
    r"|@eaDir|lost\+found|\.git(ignore|attributes|keep|hub|modules)?|\.ipynb_checkpoints"
    r"|__pycache__|\.(cache|idea|vscode|huggingface)|~\$.*|\.~lock\..*"
)
log = logging.getLogger(__name__)


class FolderError(UserError):
    """The data folder cannot be used as a whole."""


@dataclasses.dataclass(frozen=True, slots=True)
class SourceFile:
    """One source file."""

    name: str  # POSIX path relative to the data folder or archive
    path: Path
    label: str  # its class, by its folder or the sheet; "" if neither tells
    obstacle: str = ""  # the reason why it is not opened; "" if it is
    part: str = ""  # official part (train, val, test) of its top folder; "" where there are none
    sha256: str = ""  # of its content, by the manifest; "" without one
    listed: bool = True  # False: not in the sheet of labels, or a document beside the class folders


def class_folders(
    folder: Path, classes: Sequence[str], *, shown: object = "", parts: Sequence[str] = ()
) -> list[str]:
    """Return the class names in order: `classes`, or the names of the sub-folders sorted by bytes.

    Names are in Unicode's form NFC, whatever that of the folder. `shown` is what messages call the
    folder, where it is an unpacked archive. With `parts` the class folders lie in folders of these
    names, as far as they are there, in capitals or not.

    Raises:
        FolderError: no folder, no sub-folder, sub-folders that are not the `classes`, or that are
            the subsets of a data set.
    """
    shown = shown or folder
    found = _sub_folders(folder, shown)
    if parts:
        found = _below_parts(folder, parts, found, shown)
    names = sorted({_in_nfc(name, shown) for name in found}, key=str.encode)
    if not names:
        raise FolderError(
            f"{shown} has no sub-folder: give each class a folder with its images, or name a sheet "
            f"with the labels (data.sheet){_archives_in(folder)}"
        )
    if subsets := [name for name in names if part_of(name) and name not in classes]:
        flat = not parts and not any(_sub_folders(folder / name, name) for name in found)
        _refuse_parts(subsets, names, shown, flat=flat)
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
    if not parts:
        _look_for_inner_parts(folder, found, shown, refused=not classes)
    return list(classes) or names


def folders_in_all(folder: Path) -> list[str]:
    """Return the names, in Unicode's form NFC, that each folder in `folder` has for one in it."""
    try:
        outer = _sub_folders(folder, folder)
        inner = [{_in_nfc(n, name) for n in _sub_folders(folder / name, name)} for name in outer]
    except FolderError:  # the files in it have rows that say so
        return []
    return sorted(set.intersection(*inner), key=str.encode) if inner else []


def list_sources(
    folder: Path, *, labelled: bool = True, parts: Sequence[str] = ()
) -> list[SourceFile]:
    """Return every file below `folder`, in the order of the names' bytes.

    Links are followed; a link back to a folder that contains it is listed as an unusable file.
    The label is that of the class folder; with `labelled` False none has a label or needs one.
    With `parts` the class folders lie in folders of these names. Not listed, but counted in the
    log, are files of other folders then, and files that systems put beside those of a user.

    Raises:
        FolderError: no folder, or one that cannot be listed.
    """
    _sub_folders(folder, folder)
    sources: list[SourceFile] = []
    left_out: Counter[str] = Counter()
    for path, obstacle in walk(folder):
        steps = path.relative_to(folder).parts
        system = next((step for step in steps if OF_THE_SYSTEM.fullmatch(step)), "")
        if system:
            left_out["._*" if system.startswith("._") else system] += 1
        elif parts and len(steps) > 1 and not steps[0].startswith(".") and not _is_in(steps, parts):
            left_out[f"{quoted(escaped(steps[0]))}, a folder that data.parts does not name"] += 1
        else:
            sources.append(_source(path, steps, obstacle, labelled, parts))
    for what, count in sorted(left_out.items()):
        log.info("%s: left out: %s (%d files)", folder, what, count)
    return sorted(sources, key=lambda source: source.name.encode())


def walk(path: Path, above: tuple[tuple[int, int], ...] = ()) -> Iterator[tuple[Path, str]]:
    """Yield a file, or all below a folder, each with the reason why it cannot be opened, or "".

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
        yield path, ABOVE
    elif len(above) >= MOST_FOLDERS:
        yield path, f"more than {MOST_FOLDERS} folders deep"
    else:
        try:
            names = os.listdir(path)  # noqa: PTH208 - names alone: a folder may hold 100,000
        except OSError as error:
            names = []
            yield path, f"{CLOSED}: {_cause(error)}"
        for name in names:
            yield from walk(path / name, (*above, identity))


def read(source: SourceFile) -> bytes:
    """Return the bytes of `source`.

    Raises:
        UnreadableImage: it is no file, or cannot be read.
        FolderError: it is in a manifest and cannot be read.
    """
    if source.obstacle:
        raise UnreadableImage(source.obstacle)
    try:
        status = source.path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableImage("not a regular file")
        if status.st_size > MAXIMUM_FILE_BYTES:
            raise UnreadableImage(f"larger than {MAXIMUM_FILE_BYTES >> 20} MiB")
        return source.path.read_bytes()
    except OSError as error:
        if source.sha256:  # or the records would not follow from the manifest
            raise FolderError(f"{source.path} cannot be read: {_cause(error)}") from error
        raise UnreadableImage(f"cannot be read: {_cause(error)}") from error


def _sub_folders(folder: Path, shown: object) -> list[str]:
    """Names of the folders in `folder`, not hidden nor of a system, sorted by bytes."""
    if not folder.is_dir():
        raise FolderError(
            f"{shown} is not a folder: set data.path to one with a folder per class, or to an "
            "archive of one"
        )
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
            # DirEntry.is_dir raises for a link to itself.
            names = [entry.name for entry in visible if Path(entry.path).is_dir()]
    except OSError as error:
        raise FolderError(f"{shown} cannot be listed: {_cause(error)}") from error
    return sorted((n for n in names if not OF_THE_SYSTEM.fullmatch(n)), key=os.fsencode)


def _archives_in(folder: Path) -> str:
    """Advice on the archives in a data folder that has no class folder."""
    names = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in ARCHIVE_SUFFIXES)
    if len(names) == 1:
        return f"; for the archive {quoted(names[0])} set data.path to it"
    return f"; or unpack {listed(names, 3)}" if names else ""


def _below_parts(
    folder: Path, parts: Sequence[str], present: Sequence[str], shown: object
) -> list[str]:
    """Names of the class folders in those of `parts` that are there, sorted by bytes."""
    here = [name for name in present if _is_in([name], parts)]
    if not here:
        raise FolderError(
            f"data.parts names {listed(parts)}, but {shown} has none of them: empty data.parts "
            "where the class folders lie in data.path itself"
        )
    subsets = {part_of(name) for name in here}
    for name in present:
        if name not in here and part_of(name) in {part_of(part) for part in parts} - subsets - {""}:
            raise FolderError(
                f"data.parts names {listed(parts)}; {shown} has no {part_of(name)}, but {name}: "
                f"give {override('data.parts', [*here, name])}, or move the folder away"
            )
    names = {name for part in here for name in _sub_folders(folder / part, f"{shown}/{part}")}
    return sorted(names, key=os.fsencode)


def _is_in(steps: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether the first of `steps` is one of `parts`, in capitals or not."""
    return folded(steps[0]) in map(folded, parts)


def _in_nfc(name: str, shown: object) -> str:
    """The name of a class folder in Unicode's form NFC; `FolderError` if no class can have it."""
    if not name.isprintable() or name != name.strip():  # nor are bytes that are not UTF-8
        raise FolderError(
            f"{shown} has the folder {quoted(escaped(name))}, which gives a class its name: "
            "rename it, in UTF-8, with visible characters and ordinary spaces, none at its ends"
        )
    return unicodedata.normalize("NFC", name)


def _refuse_parts(
    subsets: Sequence[str], names: Sequence[str], shown: object, *, flat: bool
) -> None:
    """Raise `FolderError` for class folders `names` that have `subsets` such as train, test.

    `flat`: there is no folder in any of them.
    """
    if len(subsets) < len(names):
        raise FolderError(
            f"{shown} has {listed(subsets)} beside class folders, named like subsets of a data "
            "set: move them away, or name all classes in data.classes if they are classes"
        )
    if flat:
        raise FolderError(
            f"{shown} has {listed(names)}, which are subsets, not classes, and there is no class "
            "folder in them: name a sheet with the labels (data.sheet), or name all classes in "
            "data.classes if they are classes"
        )
    by_part: dict[str, str] = {}
    for name in sorted(subsets, key=len):  # "test" rather than "auto_test"
        by_part.setdefault(part_of(name), name)
    chosen = [by_part[part] for part in ("train", "val", "test") if part in by_part]
    parts = override("data.parts", chosen)
    several = (
        f"{parts} -S split=official keeps them; {parts} -S split=grouped takes all as one pool "
        "and splits it anew; or "
    )
    such = f"one of them, such as {shown}/{chosen[0]}"
    raise FolderError(
        f"{shown} has {listed(names)}, which are subsets (data.parts), not classes: "
        f"{several * (len(chosen) > 1)}"
        f"set data.path to {such if Path(str(shown)).is_dir() else 'one of them, unpacked'}"
    )


def _look_for_inner_parts(
    folder: Path, found: Sequence[str], shown: object, *, refused: bool
) -> None:
    """Refuse folders above subsets above classes; say where subsets below classes are not kept."""
    below = {name: subsets for name in found if (subsets := _subsets(folder / name))}
    for name, subsets in below.items():
        if refused and len(subsets) > 1 and len(set.intersection(*subsets.values())) > 1:
            raise FolderError(
                f"{shown} has {listed(found)}, but the classes lie deeper, below {name}/"
                f"{next(iter(subsets))}: set data.path to {shown}/{name} and data.parts to its "
                "subsets"
            )
    if below:
        name, subsets = next(iter(below.items()))
        log.warning(
            "%s: folders named like subsets below class folders (%s/%s) are not kept: split deals "
            "out all files anew; for official subsets put them above the class folders",
            *(shown, name, next(iter(subsets))),
        )


def _subsets(folder: Path) -> dict[str, set[str]]:
    """Folders in `folder` that are named like subsets, each with the names of those in it."""
    try:
        names = [name for name in _sub_folders(folder, folder) if part_of(name)]
        return {name: set(_sub_folders(folder / name, folder)) for name in names}
    except FolderError:  # its files have rows that say so
        return {}


def _source(
    path: Path, steps: Sequence[str], obstacle: str, labelled: bool, parts: Sequence[str]
) -> SourceFile:
    name = escaped("/".join(steps))
    part = (part_of(steps[0]) or steps[0]) if parts and _is_in(steps, parts) else ""
    inner = steps[1:] if parts else steps
    faults = (
        (any(step.startswith(".") for step in steps), "hidden"),
        (bool(parts) and not part, f"{OUTSIDE[1]} {', '.join(parts)}"),
        (labelled and len(inner) == 1, OUTSIDE[0]),
        (name != "/".join(steps), "name is not UTF-8: rename the file"),
        (path.suffix.lower() in ARCHIVE_SUFFIXES, "an archive inside the data: unpack it"),
    )
    obstacle = obstacle or next((reason for is_so, reason in faults if is_so), "")
    in_class = labelled and len(inner) > 1 and not inner[0].startswith(".")
    in_class = in_class and (part != "" or not parts)
    label = unicodedata.normalize("NFC", inner[0]) if in_class else ""
    return SourceFile(name, path, label, obstacle, part)


def _cause(error: OSError) -> str:
    """The system's message, without the path."""
    return error.strerror or type(error).__name__
