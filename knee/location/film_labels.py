"""Labels of the knees of whole films: one for a film, one for each side, or a row a side."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from knee.intake import patient_numbers
from knee.intake.sheet_columns import KNOWN
from knee.intake.spreadsheet import SheetError, name_letters, read_rows
from knee.run.messages import listed, quoted

LEFT, RIGHT = "left", "right"
OF_SIDE: Final = {"labelleft": LEFT, "labelright": RIGHT}
log = logging.getLogger(__name__)
Row = Mapping[str, str]  # cells by the letters of their column's name


@dataclasses.dataclass(frozen=True)
class FilmLabels:
    """The rows of a sheet of films, by the film's name."""

    rows: Mapping[str, Sequence[Row]]

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
        told = {KNOWN[name]: text for name, text in matching[0].items() if name in KNOWN}
        for letters, own in OF_SIDE.items():
            if own == side and matching[0].get(letters):
                told["label"] = matching[0][letters]
        return {name: text for name, text in told.items() if text and name not in ("path", "side")}


def read(path: Path, films: Sequence[str]) -> FilmLabels:
    """Read the sheet of `films` at `path`: column path, and any of those of a label sheet.

    In place of label it may have label_left and label_right, and a film may have a row a side.

    Raises:
        SheetError: no sheet, no column path, a column twice, a row of no film, or two rows of one
            knee.
    """
    lines = read_rows(path)
    letters = [name_letters(cell) for cell in lines[0]] if lines else []
    if "path" not in letters:
        raise SheetError(f"{path} has no column path in its first row: it names the films")
    twice = sorted({name for name in letters if name and letters.count(name) > 1})
    if twice:
        raise SheetError(f"{path} has a column twice ({listed(twice)}): remove one")
    rows: dict[str, list[Row]] = {}
    known = set(films)
    for number, line in enumerate(lines[1:], start=2):
        if any(line):
            cells = dict(zip(letters, [*line, *[""] * len(letters)], strict=False))
            film = cells["path"].replace("\\", "/").removeprefix("./")
            if film not in known:
                raise SheetError(
                    f"{path}, row {number}: {quoted(cells['path'])} is no film of the folder"
                )
            rows.setdefault(film, []).append(cells)
    for film, of_film in rows.items():
        _check_sides(film, of_film, path)
    unused = [name for name in letters if name and name not in KNOWN and name not in OF_SIDE]
    if unused:
        log.warning("%s: columns not used: %s", path, listed(unused))
    return FilmLabels(rows)


def _check_sides(film: str, rows: Sequence[Row], path: Path) -> None:
    """Refuse two rows of one knee."""
    sides = [patient_numbers.side(row.get("side", "")) for row in rows]
    if len(rows) > 1 and ("" in sides or len({*sides}) < len(sides)):
        raise SheetError(
            f"{path} has {len(rows)} rows of {quoted(film)}: give each another side, left or right"
        )
