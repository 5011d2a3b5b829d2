"""Labels of the source files, by the sheet or their class folders, and the sheet's other facts."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from knee.intake import class_names
from knee.intake.archives import DataFolder
from knee.intake.label_sheet import Row, Sheet
from knee.intake.spreadsheet import SheetError
from knee.reading import source_files
from knee.run.messages import folded, listed, quoted

ABSENT: Final = "the sheet's file does not exist"
AMBIGUOUS: Final = "several files have the name in the sheet: give it with its extension"
THE_SHEET: Final = "the sheet itself"
NO_ROW: Final = "no row in the sheet"
DOCUMENT_SUFFIXES: Final = frozenset((".pdf", ".xlsx", ".xls", ".ods", ".docx", ".doc", ".odt"))
IMAGE_SUFFIXES: Final = frozenset(
    (
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".dib"),
        *(".dcm", ".dicom", ".dic", ".ima", ".img"),
    )
)
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Listing:
    """All files that get a record, by the bytes of their names.

    Rows of the sheet without a file are among the sources.
    """

    shown: Path  # the folder or archive, for messages
    sources: Sequence[source_files.SourceFile]
    classes: Sequence[str]  # in the order of the scale
    facts: Mapping[str, Mapping[str, Any]]  # by source name, columns of the records table


def list_labelled(
    opened: DataFolder, sheet: Sheet, classes: Sequence[str], parts: Sequence[str] = ()
) -> Listing:
    """Return every file of `opened`, labelled by the sheet if it has labels, else by its folder.

    With `parts`, official subsets, folders of these names hold everything.

    Raises:
        FolderError: the folders are not the classes.
        ClassNameError: names of classes that cannot be used, or whose order is not known.
        SheetError: two rows contradict each other, or no row fits any file.
    """
    sheet = _spelled(sheet, classes)
    sources = source_files.list_sources(opened.folder, labelled=not sheet.labelled, parts=parts)
    names = _class_names(opened, sheet, classes, parts, sources)
    rows, absent = _matched(sources, sheet, opened)
    labelled = [_labelled(source, rows.get(source.name), sheet, names) for source in sources]
    unlisted = [source.name for source in labelled if not source.listed]
    if unlisted and not sheet.labelled:
        log.info("%s: beside the classes, not used: %s", opened.shown, listed(unlisted))
    elif unlisted:
        log.warning(
            "%s has no row for %d of %d files, such as %s: they are not used",
            sheet.path,
            len(unlisted),
            len(labelled),
            quoted(unlisted[0]),
        )
    labelled += absent
    labelled.sort(key=lambda source: source.name.encode())
    facts = {name: row.facts for name, row in rows.items()}
    return Listing(opened.shown, labelled, names, facts)


def check_classes(listing: Listing) -> None:
    """Raise `FolderError` for a data set of one class, in which nothing can be classified."""
    if len(listing.classes) < 2:
        raise source_files.FolderError(
            f"{listing.shown} has only one class, {listing.classes[0]}: set data.path to the "
            "folder that holds a folder per class, or add another class"
        )


def _spelled(sheet: Sheet, classes: Sequence[str]) -> Sheet:
    """`sheet` with one spelling of each label."""
    written = [row.label for row in sheet.rows if row.label]
    names = class_names.spellings(written, classes, sheet.path) | {"": ""}
    rows = [dataclasses.replace(row, label=names[row.label]) for row in sheet.rows]
    return dataclasses.replace(sheet, rows=rows)


def _class_names(
    opened: DataFolder,
    sheet: Sheet,
    classes: Sequence[str],
    parts: Sequence[str],
    sources: Sequence[source_files.SourceFile],
) -> list[str]:
    """Classes in the order of the scale: `classes`, or those of the folders or the sheet."""
    shown: Path = sheet.path if sheet.labelled else opened.shown
    if not sheet.labelled:
        names = source_files.class_folders(opened.folder, classes, shown=opened.shown, parts=parts)
        if not classes and not parts:
            class_names.check_level(names, source_files.folders_in_all(opened.folder), shown)
    else:
        names = sorted({row.label for row in sheet.rows if row.label}, key=str.encode)
        if not names and not classes:
            raise SheetError(f"{shown} gives no label: fill the column label, or remove it")
    if classes:
        class_names.check(classes, "data.classes")
        class_names.check_order(classes)
        return list(classes)
    class_names.check(names, shown)
    if not sheet.labelled:
        _check_images(names, sources, shown)
    return class_names.in_order(names, shown)


def _check_images(
    names: Sequence[str], sources: Sequence[source_files.SourceFile], shown: Path
) -> None:
    """Refuse folders without a file that may be an image: code, metadata, an empty class."""
    filled: set[str] = set()
    for source in sources:
        if source.label not in filled and not _is_document(source.path):
            filled.add(source.label)
    if empty := [name for name in names if name not in filled]:
        raise source_files.FolderError(
            f"{shown} has no image in {listed(empty)}: add images, or move away what is no class"
        )


def _matched(
    sources: Sequence[source_files.SourceFile], sheet: Sheet, opened: DataFolder
) -> tuple[dict[str, Row], list[source_files.SourceFile]]:
    """The row of each file that has one, by name, and the rows without a file as sources."""
    files = files_of([source.name for source in sources], sheet, opened.top)
    rows: dict[str, Row] = {}
    absent: dict[str, source_files.SourceFile] = {}
    for row in sheet.rows:
        found = files.get(row.number, [])
        name = found[0] if len(found) == 1 else _normal(row.path)
        _check_alike(rows.setdefault(name, row), row, sheet.path)
        if len(found) != 1:
            reason = row.no_image or (AMBIGUOUS if found else ABSENT)
            absent[name] = source_files.SourceFile(name, Path(), "", reason)
    if sheet.rows and len(absent) == len(rows):
        raise SheetError(
            f"{sheet.path}: no path fits a file of {opened.shown}: row {sheet.rows[0].number} says "
            f"{quoted(sheet.rows[0].path)}, the first of {len(sources)} files is "
            f"{quoted(sources[0].name) if sources else 'none'}"
        )
    return rows, list(absent.values())


def _check_alike(first: Row, row: Row, path: Path) -> None:
    """Refuse two rows that say different things about one file."""
    # By repr, since NaN (unknown) is not equal to NaN.
    if (first.label, repr(first.facts)) == (row.label, repr(row.facts)):
        return
    both_knees = {first.facts["side"], row.facts["side"]} == {"left", "right"}
    remedy = (
        "cut the image into one file for each knee (make films LOCATE=1)"
        if both_knees
        else "keep one"
    )
    raise SheetError(
        f"{path}: rows {first.number} and {row.number} say different things about "
        f"{quoted(row.path)}: {remedy}"
    )


def files_of(names: Sequence[str], sheet: Sheet, top: str) -> dict[int, Sequence[str]]:
    """Return names of the files that each row may mean, by row number: one, several, or no entry.

    `top` are the folders around the files in an archive.
    """
    found: dict[int, Sequence[str]] = {}
    freer: list[Row] = []
    for attempt, keys in enumerate(MATCHES):
        taken = {name for files in found.values() for name in files}
        free = [name for name in names if name not in taken]
        indices = [(_by(free, of_file), of_path) for of_file, of_path in keys]
        for row in [row for row in sheet.rows if row.number not in found and not row.no_image]:
            forms = _forms(row.path, top)
            files = (index.get(key(form)) for index, key in indices for form in forms)
            if meant := next(filter(None, files), None):
                found[row.number] = meant
                freer += [row] if attempt else []
    if freer:
        log.warning(
            "%s: paths that have another case, Unicode form or extension than their file: %d, "
            "such as %s in row %d for %s",
            sheet.path,
            len(freer),
            quoted(freer[0].path),
            freer[0].number,
            quoted(found[freer[0].number][0]),
        )
    return found


def _by(names: Sequence[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    """The names of each key."""
    result: dict[str, list[str]] = {}
    for name in names:
        result.setdefault(key(name), []).append(name)
    return result


def _stem(name: str) -> str:
    """`name` without an image's extension; in 1.2.840 no part is one."""
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in IMAGE_SUFFIXES else name


def _folded_stem(name: str) -> str:
    return folded(_stem(name))


def _forms(path: str, top: str) -> list[str]:
    """`path` as it is written, normal, and without the folders `top` around the files."""
    normal = _normal(path)
    inner = [top.split("/", number)[-1] for number in range(top.count("/") + 1)]
    return [path, normal, *(normal.removeprefix(f"{folders}/") for folders in inner if folders)]


def _normal(path: str) -> str:
    """`path` with / between folders and no ./ before it."""
    return path.replace("\\", "/").removeprefix("./")


# How files and paths are compared, in attempts; a file that has found its row is out of the next.
MATCHES: Final[Sequence[Sequence[tuple[Callable[[str], str], Callable[[str], str]]]]] = (
    ((str, str), (_stem, str)),  # as written, or without its extension
    ((folded, folded),),
    ((_folded_stem, _folded_stem),),
)


def _labelled(
    source: source_files.SourceFile, row: Row | None, sheet: Sheet, names: Sequence[str]
) -> source_files.SourceFile:
    """`source` with the sheet's label, or with the reason why it has none."""
    obstacle = source.obstacle
    same_name = source.path.name == sheet.path.name
    if same_name and source.path.exists() and source.path.samefile(sheet.path):
        obstacle = THE_SHEET
    if not sheet.labelled:
        beside = obstacle.startswith(source_files.OUTSIDE) and _is_document(source.path)
        meant = not beside and obstacle != THE_SHEET
        return dataclasses.replace(source, obstacle=obstacle, listed=meant)
    label = row.label if row and row.label in names else ""
    if row is None:
        reason = NO_ROW
    elif not row.label:
        reason = "the sheet gives no label"
    else:
        reason = "" if label else f"label {quoted(row.label)} is none of data.classes"
    obstacle = obstacle or reason
    return dataclasses.replace(source, label=label, obstacle=obstacle, listed=row is not None)


def _is_document(path: Path) -> bool:
    """Whether a file is a text, a PDF or one of an office program, and so no image."""
    suffix = path.suffix.lower()
    if suffix in DOCUMENT_SUFFIXES or suffix in IMAGE_SUFFIXES | source_files.ARCHIVE_SUFFIXES:
        return suffix in DOCUMENT_SUFFIXES
    try:
        if path.is_file():  # not a pipe
            with path.open("rb") as stream:
                return b"\0" not in stream.read(1024)
    except OSError:
        pass
    return False
