"""Labels of the knees of whole films: one for a film, one for each side, or a row a side."""

from __future__ import annotations

import dataclasses
import difflib
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from knee.intake import cell_values, class_names, label_sheet, labels, patient_numbers
from knee.intake.label_sheet import Row, Sheet
from knee.intake.sheet_columns import COLUMNS, KNOWN, LIKENESS, resembled
from knee.intake.spreadsheet import SheetError, name_letters, read_rows
from knee.run.messages import listed, quoted

LEFT, RIGHT = "left", "right"
OF_SIDE: Final = {"labelleft": LEFT, "labelright": RIGHT}
TOLD: Final = {letters: name for letters, name in KNOWN.items() if name in COLUMNS}
log = logging.getLogger(__name__)
Cells = Mapping[str, str]  # by the letters of their column's name


@dataclasses.dataclass(frozen=True)
class FilmSheet:
    """A sheet of films as it is written."""

    path: Path
    rows: Mapping[int, Cells] = dataclasses.field(repr=False)  # by number; the header is row 1

    @property
    def label_column(self) -> str:
        """Which column gives the classes, label or t_score; "" where the folders do."""
        told = {name for cells in self.rows.values() for name in cells}
        if told & {"label", *OF_SIDE}:
            return "label"
        return "t_score" if "tscore" in told else ""

    def of(self, films: Sequence[str], top: str = "") -> FilmLabels:
        """Return the rows of each of `films`; a row finds its film as one of a label sheet does.

        `top` are the folders around the films in an archive.

        Raises:
            SheetError: two rows of one knee, or no row fits any film.
        """
        written = [Row(number, cells["path"], "", {}) for number, cells in self.rows.items()]
        found = labels.files_of(films, Sheet(self.path, written, labelled=False), top)
        rows: dict[str, list[Cells]] = {}
        absent: dict[str, str] = {}
        for number, cells in self.rows.items():
            names = found.get(number, [])
            if len(names) == 1:
                rows.setdefault(names[0], []).append(cells)
            else:
                absent[cells["path"]] = labels.AMBIGUOUS if names else labels.ABSENT
        if absent and not rows:
            raise SheetError(
                f"{self.path}: no path fits a film: the first says {quoted(next(iter(absent)))}, "
                f"the first of {len(films)} films is {quoted(films[0]) if films else 'none'}"
            )
        for film, of_film in rows.items():
            _check_sides(film, of_film, self.path)
        return FilmLabels(rows, self.label_column, absent)


@dataclasses.dataclass(frozen=True)
class FilmLabels:
    """What a sheet tells of films, by their names."""

    rows: Mapping[str, Sequence[Cells]] = dataclasses.field(default_factory=dict, repr=False)
    label_column: str = ""  # that gives the classes, label or t_score; "" where the folders do
    absent: Mapping[str, str] = dataclasses.field(default_factory=dict)  # rows' paths and reasons

    def only_side(self, film: str) -> str:
        """Return the side of a film's only row, "" where there is none or several."""
        rows = self.rows.get(film, ())
        return patient_numbers.side(rows[0].get("side", "")) if len(rows) == 1 else ""

    def facts(self, film: str, side: str) -> dict[str, str]:
        """Return what the sheet tells of one knee, by column; its own label is the label.

        A row of a side counts for that knee alone, one without for every knee of the film. A label
        of a side is left out where the knee's side is not known.
        """
        rows = self.rows.get(film, ())
        matching = [row for row in rows if patient_numbers.side(row.get("side", "")) in ("", side)]
        if len(matching) != 1:
            return {}
        told = {TOLD[name]: text for name, text in matching[0].items() if name in TOLD}
        for letters, own in OF_SIDE.items():
            if own == side and matching[0].get(letters):
                told["label"] = matching[0][letters]
        return {name: text for name, text in told.items() if text and name not in ("path", "side")}


def read(path: Path) -> FilmSheet:
    """Read the sheet of films at `path`: column path, and any of those of a label sheet.

    In place of label it may have label_left and label_right, and a film may have a row a side.

    Raises:
        SheetError: no sheet, no column path, a column twice, no row, or a row that cannot be used,
            whose label contradicts that of a side, or whose side is none.
    """
    lines = read_rows(path)
    letters = header(lines, path)
    unused = [name for name in letters if name and name not in TOLD and name not in OF_SIDE]
    if unused:
        log.warning("%s: columns not used: %s", path, listed(unused))
    label_sheet.has_rows(lines, path)
    places = {name: at for at, name in enumerate(letters) if name in TOLD or name in OF_SIDE}
    rows = dict(label_sheet.checked_cells(lines, places, path, ("label", *OF_SIDE)))
    for number, cells in rows.items():
        _check_labels(cells, f"{path}, row {number}")
        _check_side(cells, f"{path}, row {number}")
    return FilmSheet(path, rows)


def header(lines: Sequence[Sequence[str]], path: Path) -> list[str]:
    """Return the columns that the first of `lines` names, by their letters.

    Raises:
        SheetError: no column path, a column twice, or one that has nearly the name of a column
            that is not there: what it says would be lost.
    """
    letters = [name_letters(cell) for cell in lines[0]] if lines else []
    if "path" not in letters:
        raise SheetError(f"{path} has no column path in its first row: it names the films")
    twice = sorted({name for name in letters if name and letters.count(name) > 1})
    if twice:
        raise SheetError(f"{path} has a column twice ({listed(twice)}): remove one")
    named = {TOLD.get(name, name) for name in letters}
    for cell, name in zip(lines[0], letters, strict=True):
        near = _resembled(cell) if name and name not in TOLD and name not in OF_SIDE else ""
        if near and name_letters(near) not in {name_letters(other) for other in named}:
            raise SheetError(
                f"{path}: nothing reads the column {quoted(cell)}: rename it to {near} if it is "
                "that, else remove it or give it another name"
            )
    return letters


def _resembled(cell: str) -> str:
    """The column of a sheet of films whose name is nearly `cell`; "" if there is none."""
    of_side = difflib.get_close_matches(name_letters(cell), OF_SIDE, 1, LIKENESS)
    if of_side:
        return f"label_{OF_SIDE[of_side[0]]}"
    near = resembled(cell)
    words = (patient_numbers.side(word) for word in re.split(r"[\W_]+", cell))
    side = next(filter(None, words), "")
    if near == "label" and side:
        return f"label_{side}"
    return near if near in COLUMNS else ""


def _check_labels(cells: Cells, shown: str) -> None:
    """Refuse a label beside another one of a side: either may be the wrong one."""
    label = cells.get("label", "")
    for letters, side in OF_SIDE.items():
        own = cells.get(letters, "")
        if cell_values.is_empty(label) or cell_values.is_empty(own):
            continue
        if class_names.key(label) != class_names.key(own):
            raise SheetError(
                f"{shown}: label is {quoted(label)} and label_{side} {quoted(own)}: empty the "
                "label, and give each side its own"
            )


def _check_side(cells: Cells, shown: str) -> None:
    """Refuse a side that cannot be read: the row would count for both knees."""
    side = cells.get("side", "")
    if not cell_values.is_empty(side) and not patient_numbers.side(side):
        raise SheetError(
            f"{shown}: the side {quoted(side)} is neither left nor right: leave it empty where the "
            "row holds for each knee"
        )


def _check_sides(film: str, rows: Sequence[Cells], path: Path) -> None:
    """Refuse two rows of one knee."""
    sides = [patient_numbers.side(row.get("side", "")) for row in rows]
    if len(rows) > 1 and ("" in sides or len({*sides}) < len(sides)):
        raise SheetError(
            f"{path} has {len(rows)} rows of {quoted(film)}: give each another side, left or right"
        )
