"""The label sheet beside the images: its rows, checked and without patient numbers.

Columns, in any order and case: path (of a file, relative to data.path), and any of label, patient,
side, age, sex, t_score, origin.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from knee.intake import cell_values, class_names, patient_numbers, patients, sheet_columns
from knee.intake.spreadsheet import UNSAVED, SheetError, read_rows
from knee.records.records_table import who_class
from knee.run import messages

NO_SHEET: Final = "no_sheet.csv"  # of conf: a header and no row, by which nothing is said
LISTED_ROWS: Final = 5  # in one message
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One row of the sheet, about one file."""

    number: int  # as a spreadsheet program counts: the header is row 1
    path: str  # as written
    label: str  # "" if the sheet gives none, or has no labels
    facts: Mapping[str, Any]  # columns of the records table that the sheet fills; patient hashed
    no_image: str = ""  # why there is no such file, where the sheet knows


@dataclasses.dataclass(frozen=True)
class Sheet:
    """All rows; with `labelled` the sheet, not the folders, gives the classes."""

    path: Path
    rows: Sequence[Row]
    labelled: bool


def read_sheet(path: Path, classes: Sequence[str], key: bytes) -> Sheet:
    """Read the sheet at `path`; patients become keyed hashes at once.

    Without a column label, labels come from t_score by the cut-offs of the WHO, if `classes` are
    Normal, Osteopenia, Osteoporosis.

    Raises:
        SheetError: not a sheet, no column path, a column twice, or labels that cannot be derived.
    """
    lines = read_rows(path)
    places = sheet_columns.places(lines, path)
    if not has_rows(lines, path):
        log.info("no sheet: the folders give the labels")
        return Sheet(path, (), labelled=False)
    of_who = tuple(map(class_names.key, classes)) == class_names.WHO
    derived = "label" not in places and "t_score" in places
    if derived and not of_who:
        raise SheetError(
            f"{path} has t_score but no label: add a column label, or set data.classes to "
            "[Normal, Osteopenia, Osteoporosis] to derive it"
        )
    unreadable: dict[str, list[int]] = {}
    cells_of_rows = list(checked_cells(lines, places, path))
    rows = [
        _row(number, cells, classes, key, unreadable, derived=derived)
        for number, cells in cells_of_rows
    ]
    told = [(number, cells.get("patient", "")) for number, cells in cells_of_rows]
    for remark in patient_numbers.remarks((row, text) for row, text in told if text):
        log.warning("%s: %s", path, remark)
    for column, numbers in unreadable.items():
        log.warning("%s: %s cannot be read in %s: left out", path, column, _rows_text(numbers))
    if of_who and (others := [row.number for row in rows if _contradicts(row, classes)]):
        log.warning(
            "%s: label and t_score disagree by the cut-offs of the WHO in %s: the label is taken",
            path,
            _rows_text(others),
        )
    return Sheet(path, rows, labelled=derived or "label" in places)


def has_rows(lines: Sequence[Sequence[str]], path: Path) -> bool:
    """Whether a row follows the header; `SheetError` if not, unless it is conf/no_sheet.csv."""
    found = any(any(line) for line in lines[1:])
    if not found and path.name != NO_SHEET:
        raise SheetError(
            f"{path} has no row below its header: fill it, or set data.sheet to "
            f"conf/{NO_SHEET} where folders give the labels"
        )
    return found


def _rows_text(numbers: Sequence[int]) -> str:
    return f"row{'s' * (len(numbers) > 1)} {messages.listed(numbers, LISTED_ROWS)}"


def _contradicts(row: Row, classes: Sequence[str]) -> bool:
    t_score = row.facts["t_score"]
    if not row.label or math.isnan(t_score):
        return False
    return class_names.key(row.label) != class_names.key(who_class(t_score, classes))


def checked_cells(
    lines: Sequence[Sequence[str]],
    places: Mapping[str, int],
    path: Path,
    label_columns: Sequence[str] = ("label",),
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield row number and cells by column of every row that is not blank.

    Raises:
        SheetError: a row without a path, with more cells than the header has columns, with a date
            for a label, or a formula without a saved value.
    """
    width = len(lines[0])
    for number, line in enumerate(lines[1:], start=2):
        if not any(line):
            continue
        if any(line[width:]):
            raise SheetError(f"{path}, row {number}: more cells than the header has columns")
        cells = {name: line[at] if at < len(line) else "" for name, at in places.items()}
        unsaved = [name for name, text in cells.items() if text == UNSAVED]
        if unsaved:
            raise SheetError(
                f"{path}, row {number}: {unsaved[0]} is {UNSAVED}: open the file in a spreadsheet "
                "program and save it"
            )
        if any(cell_values.is_date(cells.get(name, "")) for name in label_columns):
            raise SheetError(
                f"{path}, row {number}: the label is a date, perhaps one that a spreadsheet "
                "program made of a text such as 1-2: format the column as text and type it again"
            )
        if not cells["path"]:
            raise SheetError(f"{path}, row {number}: no path: name the file, or remove the row")
        yield number, cells


def _row(
    number: int,
    cells: Mapping[str, str],
    classes: Sequence[str],
    key: bytes,
    unreadable: dict[str, list[int]],
    *,
    derived: bool,
) -> Row:
    def value(column: str, convert: Callable[[str], Any], unknown: Any) -> Any:
        text = cells.get(column, "")
        if cell_values.is_empty(text):
            return unknown
        converted = None if cell_values.is_fault(text) else convert(text)
        if converted is None:
            unreadable.setdefault(column, []).append(number)
        return unknown if converted is None else converted

    facts = {
        "patient": value("patient", lambda text: patients.hashed(text, key, from_zero=True), ""),
        "side": value("side", lambda text: patient_numbers.side(text) or None, ""),
        "sex": value("sex", lambda text: cell_values.SEXES.get(text.lower()), ""),
        "age_years": value("age", cell_values.age_years, math.nan),
        "t_score": value("t_score", cell_values.t_score, math.nan),
        "origin": value("origin", str, ""),
    }
    if cells.get(sheet_columns.FILM_NOTE):
        facts["note"] = cells[sheet_columns.FILM_NOTE]
    label = cells.get("label", "")
    if class_names.key(label) not in map(class_names.key, classes):
        label = value("label", str, "")
    if derived and not math.isnan(facts["t_score"]):
        label = who_class(facts["t_score"], classes)
    return Row(number, cells["path"], label, facts, cells.get(sheet_columns.NO_IMAGE, ""))
