"""The header of a label sheet: which column is which, whatever its exact name."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from knee.intake.spreadsheet import SheetError, name_letters
from knee.run.messages import quoted

COLUMNS: Final = ("path", "label", "patient", "side", "age", "sex", "t_score", "origin")
SYNONYMS: Final = {  # without case, blanks and punctuation
    **dict.fromkeys(("patientid", "patientnumber", "patientno", "patientnr"), "patient"),
    **dict.fromkeys(("subject", "subjectid", "participant", "participantid"), "patient"),
    **dict.fromkeys(("mrn", "pid"), "patient"),
    **dict.fromkeys(("gender", "patientsex"), "sex"),
    **dict.fromkeys(("ageyears", "patientage"), "age"),
    "laterality": "side",
}
# What the stage locate tells of a film beside them: why it gave no image, and what is doubtful.
NO_IMAGE, FILM_NOTE = "no_image_reason", "film_note"
KNOWN: Final = {name.replace("_", ""): name for name in (*COLUMNS, NO_IMAGE, FILM_NOTE)} | SYNONYMS
# Labels by another name: the folders would give the classes, if these were passed over.
OTHER_LABELS: Final = dict.fromkeys(
    ("class", "classes", "classe", "klasse", "diagnosis", "diagnose", "category", "grade", "kl"),
    "label",
)
SEARCHED_ROWS: Final = 20  # for a header below lines of a title
INSIDE: Final = ("patient", "subject", "participant", "tscore", "gender", "laterality", "label")
LIKENESS: Final = 0.8  # of two names, by difflib: a letter more, less or changed
log = logging.getLogger(__name__)


def places(lines: Sequence[Sequence[str]], path: Path) -> dict[str, int]:
    """Return the place of each of COLUMNS that the first of `lines`, the header, has.

    Other names of a column are taken where they are unmistakable.

    Raises:
        SheetError: as `named`.
    """
    names = named(lines, path)
    for cell, name in zip(lines[0], names, strict=True):
        if name and cell.lower() != name:
            log.info("%s: the column %s is read as %s", path, quoted(cell), name)
    is_of_located = FILM_NOTE in names  # its other columns say where on the film a knee lies
    if (unused := _unused(lines[0], names)) and not is_of_located:
        log.info("%s: columns not used: %s", path, ", ".join(map(quoted, unused)))
    return {name: place for place, name in enumerate(names) if name}


def named(lines: Sequence[Sequence[str]], path: Path) -> list[str]:
    """Return which of COLUMNS each cell of the first of `lines` is, "" for none.

    Cells of a row that has no column path are not quoted: it may be no header at all.

    Raises:
        SheetError: no column path, a column twice, or one that has nearly the name of a column
            that is not there: what it says would be lost.
    """
    names = [KNOWN.get(name_letters(cell), "") for cell in (lines[0] if lines else ())]
    if "path" not in names:
        raise SheetError(_without_path(lines, path))
    twice = [name for name in COLUMNS if names.count(name) > 1]
    if twice:
        which = [quoted(cell) for cell, name in zip(lines[0], names, strict=True) if name in twice]
        raise SheetError(f"{path} has the column {twice[0]} twice ({', '.join(which)}): remove one")
    for cell in _unused(lines[0], names):
        near = resembled(cell)
        if near and near not in names:
            raise SheetError(
                f"{path}: nothing reads the column {quoted(cell)}: rename it to {near} if it is "
                "that, else remove it or give it another name"
            )
    return names


def _unused(header: Sequence[str], names: Sequence[str]) -> list[str]:
    return [cell for cell, name in zip(header, names, strict=True) if cell and not name]


def resembled(cell: str) -> str:
    """The column whose name is nearly `cell`, a word or a part of it; "" if there is none."""
    name, sought = name_letters(cell), KNOWN | OTHER_LABELS
    if name == "zscore":  # one letter from tscore, and another measure
        return ""
    for word in re.split(r"[\W_]+", cell):
        if name_letters(word) in sought and name_letters(word) != "path":
            return sought[name_letters(word)]
    as_long = [known for known in sought if abs(len(known) - len(name)) <= 1]
    close = difflib.get_close_matches(name, as_long, 1, LIKENESS)
    near = next((known for known in INSIDE if known in name), "".join(close))
    return sought.get(near, "")


def _without_path(lines: Sequence[Sequence[str]], path: Path) -> str:
    for number, line in enumerate(lines[:SEARCHED_ROWS], start=1):
        if any(name_letters(cell) == "path" for cell in line):
            return f"{path}: row {number} is the header: remove the rows above it"
    return (
        f"{path} has no column path in its first row: call the column of file names path; the "
        f"columns are {', '.join(COLUMNS)}; only path is required"
    )
