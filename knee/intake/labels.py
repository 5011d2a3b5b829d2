"""Labels of the source files, by the sheet or their class folders, and the sheet's other facts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from knee.intake.archives import DataFolder
from knee.intake.label_sheet import Row, Sheet
from knee.intake.spreadsheet import SheetError
from knee.reading import source_files
from knee.run.messages import quoted

ABSENT: Final = "the sheet's file does not exist"
AMBIGUOUS: Final = "several files have the name in the sheet: give it with its extension"
CLASS_CHARACTERS: Final = 60  # results, charts and files are named after classes


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
        SheetError: two rows contradict each other, or no row fits any file.
    """
    names = _class_names(opened, sheet, classes, parts)
    sources = source_files.list_sources(opened.folder, labelled=not sheet.labelled, parts=parts)
    rows, absent = _matched(sources, sheet, opened)
    labelled = [_labelled(source, rows.get(source.name), sheet, names) for source in sources]
    labelled += absent
    labelled.sort(key=lambda source: source.name.encode())
    facts = {name: row.facts for name, row in rows.items()}
    return Listing(opened.shown, labelled, names, facts)


def check_classes(listing: Listing) -> None:
    """Raise `FolderError` for a data set of one class, in which nothing can be classified."""
    if len(listing.classes) < 2:
        raise source_files.FolderError(
            f"{listing.shown} has only one class, {listing.classes[0]}: set data.path to the "
            "folder that holds a folder a class, or add another class"
        )


def _class_names(
    opened: DataFolder, sheet: Sheet, classes: Sequence[str], parts: Sequence[str]
) -> list[str]:
    if not sheet.labelled:
        return source_files.class_folders(opened.folder, classes, shown=opened.shown, parts=parts)
    if classes:
        return list(classes)
    labels = sorted({row.label for row in sheet.rows if row.label}, key=str.encode)
    if not labels:
        raise SheetError(f"{sheet.path} gives no label: fill the column label, or remove it")
    for name in labels:
        if len(name) > CLASS_CHARACTERS or not name.isprintable() or set(name) & set("/\\"):
            raise SheetError(
                f"{sheet.path}: label {quoted(name)} cannot be the name of a class: use at most "
                f"{CLASS_CHARACTERS} letters, without slashes"
            )
    return labels


def _matched(
    sources: Sequence[source_files.SourceFile], sheet: Sheet, opened: DataFolder
) -> tuple[dict[str, Row], list[source_files.SourceFile]]:
    """The row of each file that has one, by name, and the rows without a file as sources."""
    by_stem: dict[str, list[str]] = {}
    for source in sources:
        by_stem.setdefault(str(PurePosixPath(source.name).with_suffix("")), []).append(source.name)
    names = {source.name for source in sources}
    rows: dict[str, Row] = {}
    absent: dict[str, source_files.SourceFile] = {}
    for row in sheet.rows:
        files = _candidates(row.path, names, by_stem, opened.top)
        name = files[0] if len(files) == 1 else _normal(row.path)
        first = rows.setdefault(name, row)
        # By repr, since NaN (unknown) is not equal to NaN.
        if (first.label, repr(first.facts)) != (row.label, repr(row.facts)):
            knees = {first.facts["side"], row.facts["side"]} == {"left", "right"}
            remedy = "cut the image into one file for each knee" if knees else "keep one"
            raise SheetError(
                f"{sheet.path}: rows {first.number} and {row.number} say different things about "
                f"{quoted(row.path)}: {remedy}"
            )
        if len(files) != 1:
            absent[name] = source_files.SourceFile(name, Path(), "", AMBIGUOUS if files else ABSENT)
    if sheet.rows and len(absent) == len(rows):
        raise SheetError(
            f"{sheet.path}: no path fits a file of {opened.shown}: row {sheet.rows[0].number} says "
            f"{quoted(sheet.rows[0].path)}, the first of {len(sources)} files is "
            f"{quoted(sources[0].name) if sources else 'none'}"
        )
    return rows, list(absent.values())


def _candidates(
    path: str, names: set[str], by_stem: Mapping[str, Sequence[str]], top: str
) -> Sequence[str]:
    """Names of the files that `path` may mean: as written, then more freely."""
    normal = _normal(path)
    inner = normal.removeprefix(f"{top}/") if top else normal
    for name in (path, normal, inner):
        if name in names:
            return [name]
    return by_stem.get(normal) or by_stem.get(inner) or []


def _normal(path: str) -> str:
    """`path` with / between folders and no ./ before it."""
    return path.replace("\\", "/").removeprefix("./")


def _labelled(
    source: source_files.SourceFile, row: Row | None, sheet: Sheet, names: Sequence[str]
) -> source_files.SourceFile:
    """`source` with the sheet's label, or with the reason why it has none."""
    obstacle = source.obstacle
    same_name = source.path.name == sheet.path.name
    if not obstacle and same_name and source.path.samefile(sheet.path):
        obstacle = "the sheet itself"
    if not sheet.labelled:
        return dataclasses.replace(source, obstacle=obstacle)
    label = row.label if row and row.label in names else ""
    if row is None:
        reason = "no row in the sheet"
    elif not row.label:
        reason = "the sheet gives no label"
    else:
        reason = "" if label else f"label {quoted(row.label)} is none of data.classes"
    return dataclasses.replace(source, label=label, obstacle=obstacle or reason)
