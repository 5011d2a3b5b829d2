"""The label sheet beside the images: its rows, checked and without patient numbers.

Columns, in any order and case: path (of a file, relative to data.path), and any of label, patient,
side, age, sex, t_score, origin. A sheet with no row below its header says nothing.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from knee.intake import patient_numbers, patients
from knee.intake.spreadsheet import SheetError, read_rows
from knee.reading.dicom_header import OLDEST_YEARS
from knee.records.records_table import who_class
from knee.run import messages

COLUMNS: Final = ("path", "label", "patient", "side", "age", "sex", "t_score", "origin")
EMPTY: Final = {"", "nan", "na", "n/a", "#n/a", "null", "-"}
SEXES: Final = {"f": "F", "female": "F", "w": "F", "m": "M", "male": "M"}
WHO_CLASSES: Final = ("normal", "osteopenia", "osteoporosis")
LISTED_ROWS: Final = 5  # in one message
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One row of the sheet, about one file."""

    number: int  # as a spreadsheet program counts: the header is row 1
    path: str  # as written
    label: str  # "" if the sheet gives none, or has no labels
    facts: Mapping[str, Any]  # columns of the records table that the sheet fills; patient hashed


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
    if not any(any(line) for line in lines[1:]):
        log.info("%s has no rows: the folders give the labels", path)
        return Sheet(path, (), labelled=False)
    places = _places(lines[0], path)
    derived = "label" not in places and "t_score" in places
    if derived and tuple(name.casefold() for name in classes) != WHO_CLASSES:
        raise SheetError(
            f"{path} has t_score but no label: add a column label, or set data.classes to "
            "[Normal, Osteopenia, Osteoporosis] to derive it"
        )
    unreadable: dict[str, list[int]] = {}
    cells_of_rows = list(_cells(lines, places, path))
    rows = [
        _row(number, cells, classes, key, unreadable, derived=derived)
        for number, cells in cells_of_rows
    ]
    told = [(number, cells.get("patient", "")) for number, cells in cells_of_rows]
    for remark in patient_numbers.remarks((row, text) for row, text in told if text):
        log.warning("%s: %s", path, remark)
    for column, numbers in unreadable.items():
        rows_text = f"row{'s' * (len(numbers) > 1)} {messages.listed(numbers, LISTED_ROWS)}"
        log.warning("%s: %s cannot be read in %s: left out", path, column, rows_text)
    return Sheet(path, rows, labelled=derived or "label" in places)


def _places(header: Sequence[str], path: Path) -> dict[str, int]:
    """Column names to their places; unknown cells are not quoted, as it may be no header at all."""
    names = [name.strip().lower() for name in header]
    if "path" not in names:
        raise SheetError(
            f"{path} has no column path in its first row: the columns are {', '.join(COLUMNS)}; "
            "only path is required"
        )
    twice = sorted({name for name in names if name in COLUMNS and names.count(name) > 1})
    if twice:
        raise SheetError(f"{path} has the column {twice[0]} twice: remove one")
    unknown = [name for name in names if name and name not in COLUMNS]
    if unknown:
        log.info("%s: columns not used: %s", path, ", ".join(ascii(name) for name in unknown))
    return {name: place for place, name in enumerate(names) if name in COLUMNS}


def _cells(
    lines: Sequence[Sequence[str]], places: Mapping[str, int], path: Path
) -> Iterator[tuple[int, dict[str, str]]]:
    """Row number and cells by column of every row that is not blank."""
    width = len(lines[0])
    for number, line in enumerate(lines[1:], start=2):
        if not any(line):
            continue
        if any(line[width:]):
            raise SheetError(f"{path}, row {number}: more cells than the header has columns")
        cells = {name: line[at] if at < len(line) else "" for name, at in places.items()}
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
        converted = unknown if text.lower() in EMPTY else convert(text)
        if converted is None:
            unreadable.setdefault(column, []).append(number)
        return unknown if converted is None else converted

    facts = {
        "patient": value("patient", lambda text: patients.hashed(text, key, from_zero=True), ""),
        "side": value("side", lambda text: patients.SIDES.get(text.lower()), ""),
        "sex": value("sex", lambda text: SEXES.get(text.lower()), ""),
        "age_years": value("age", _age_years, math.nan),
        "t_score": value("t_score", _number, math.nan),
        "origin": value("origin", str, ""),
    }
    label = cells.get("label", "")
    if label.lower() in EMPTY and label not in classes:
        label = ""
    if derived and not math.isnan(facts["t_score"]):
        label = who_class(facts["t_score"], classes)
    return Row(number, cells["path"], label, facts)


def _number(text: str) -> float | None:
    """A finite number, with a point or a decimal comma; None for other text."""
    try:
        number = float(text.replace("\N{MINUS SIGN}", "-").replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _age_years(text: str) -> float | None:
    """Age as a number or as DICOM writes it (067Y); above 90 it would identify, and is 90."""
    years = _number(text.rstrip("Yy"))
    return min(years, OLDEST_YEARS) if years is not None and 0 <= years <= 150 else None
