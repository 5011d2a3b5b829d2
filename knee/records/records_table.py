"""The records table: one row a source file. Its columns, reading and writing."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from knee.run.errors import UserError
from knee.storage import artifacts

USED: Final = "used"
QUARANTINED: Final = "quarantined"
REJECTED: Final = "rejected"
UNLISTED: Final = "unlisted"  # not in the sheet of labels, or a document beside the classes

COLUMNS: Final[dict[str, str]] = {
    "record": "int64",  # 0 to n - 1, in the order of the source's bytes
    "source": "str",  # POSIX path relative to the data folder
    "label": "str",  # the class folder's name
    "part": "str",  # official subset, by its folder: train | val | test; "" where there is none
    "class_index": "int64",  # position in data.classes, else in the scale that the names tell
    "status": "str",  # used | quarantined | rejected | unlisted
    "reason": "str",  # why it is not used; "" if it is
    "note": "str",  # what was doubtful about how it is shown, phrases joined by "; "
    "pixel_row": "int64",  # row of the pixel array, -1 if rejected or unlisted
    "sha256": "str",  # of the file's bytes
    "pixel_sha256": "str",  # of the shape and the decoded 8-bit gray pixels at source size
    "perceptual_hash": "str",  # 256 bits as 64 hexadecimal digits
    "width": "int64",  # px
    "height": "int64",  # px
    "mode": "str",  # Pillow's name for the pixel layout
    "format": "str",  # Pillow's name for the file format
    "bytes": "int64",  # size of the file
    "bits": "int64",  # bits a pixel that the file stores, 1-32; 0 if rejected
    "compression": "str",  # jpeg | png | tiff_lzw | ... | a DICOM transfer syntax's name
    "pixel_spacing_mm": "float64",  # between the centres of neighbouring rows; NaN if unknown
    "border_top": "int64",  # px of uniform margin at source size
    "border_bottom": "int64",
    "border_left": "int64",
    "border_right": "int64",
    "origin": "str",  # where the image comes from: hospital, device, collection; "" if unknown
    "patient": "str",  # keyed hash, "" if unknown
    "side": "str",  # left | right | "" if unknown
    "sex": "str",  # F | M | "" if unknown
    "age_years": "float64",  # NaN if unknown
    "t_score": "float64",  # standard deviations from the young adult mean; NaN if unknown
    "picture": "int64",  # copy group: images of the same radiograph; -1 if rejected
    "group": "int64",  # copy groups of one patient joined; -1 if rejected
}
# Written only where a reviewer has decided about labels: other tables keep their bytes.
OPTIONAL: Final = {"decision": "str"}  # kept | relabelled from LABEL | excluded | ""
KEPT, RELABELLED, EXCLUDED = "kept", "relabelled", "excluded"  # its first word
BORDERS: Final = ("border_top", "border_bottom", "border_left", "border_right")
NORMAL_T_SCORE, OSTEOPOROSIS_T_SCORE = -1.0, -2.5  # at least, at most; see `who_class`
MEASURED: Final = {name for name, kind in COLUMNS.items() if kind == "float64"}  # NaN: unknown


class RecordsError(UserError):
    """The records table is missing or is not one."""


def read_records(path: Path) -> pd.DataFrame:
    """Return the table at `path`, one row a source file, columns and dtypes of `COLUMNS`.

    Columns of `OPTIONAL` follow where the file has them. Unknown text is "", never NaN; unknown
    measurements are NaN.

    Raises:
        RecordsError: no such file, or columns or values that do not fit `COLUMNS`.
    """
    try:
        as_written = {name: "str" if name in MEASURED else kind for name, kind in COLUMNS.items()}
        as_written |= OPTIONAL
        frame = pd.read_csv(path, dtype=as_written, keep_default_na=False, encoding="utf-8")
        for name in MEASURED.intersection(frame.columns):
            frame[name] = frame[name].replace("", "nan").astype("float64")
    except FileNotFoundError as error:
        raise RecordsError(f"{path} does not exist: run the ingest stage") from error
    except artifacts.NO_TABLE as error:
        raise RecordsError(f"{path} is not a records table: {error}") from error
    _check_columns(frame.columns, str(path))
    return artifacts.with_all_texts(frame[columns_of(frame)])


def write_records(frame: pd.DataFrame, path: Path) -> None:
    """Write `frame` to `path` in one move; same rows, same bytes; no text is a formula.

    Raises:
        RecordsError: columns that are not those of `COLUMNS`.
    """
    _check_columns(frame.columns, "the frame")
    ordered = frame[columns_of(frame)].astype(COLUMNS)
    with artifacts.staged_file(path) as staged:
        artifacts.without_formulas(ordered).to_csv(
            staged,
            index=False,
            quoting=csv.QUOTE_NONNUMERIC,  # a bare carriage return in a name would end the row
            lineterminator="\n",
            encoding="utf-8",
        )


def columns_of(records: pd.DataFrame) -> list[str]:
    """Return the names of all columns that belong in a table of these `records`, in order."""
    return [*COLUMNS, *(name for name in OPTIONAL if name in records)]


def decision_counts(records: pd.DataFrame) -> dict[str, int]:
    """Count files by what a reviewer decided about their label; empty where nothing was decided."""
    if "decision" not in records:
        return {}
    words = records["decision"].str.split(" ").str[0]
    return {word: int((words == word).sum()) for word in (KEPT, RELABELLED, EXCLUDED)}


def status_counts(records: pd.DataFrame) -> dict[str, int]:
    """Count files by status."""
    statuses = (USED, QUARANTINED, REJECTED, UNLISTED)
    return {status: int((records["status"] == status).sum()) for status in statuses}


def class_names(records: pd.DataFrame) -> list[str]:
    """Return the labels by class index.

    Raises:
        RecordsError: a class index with two labels, or a class without any record.
    """
    pairs = records[["class_index", "label"]].drop_duplicates().sort_values("class_index")
    known = pairs[pairs["class_index"] >= 0]
    if known["class_index"].tolist() != list(range(len(known))):
        raise RecordsError("class_index and label do not match one to one from 0 in the records")
    return [str(label) for label in known["label"]]


def _check_columns(columns: Iterable[str], where: str) -> None:
    present = set(columns)
    missing = sorted(set(COLUMNS) - present)
    unknown = sorted(present - set(COLUMNS) - set(OPTIONAL))
    if missing or unknown:
        raise RecordsError(
            f"{where} is not a records table: missing columns {missing}, unknown columns {unknown}"
        )


def who_class(t_score: float, classes: Sequence[str]) -> str:
    """Return which of three `classes` has this T-score.

    Normal from -1.0 up, osteoporosis from -2.5 down, osteopenia between. Source: WHO Technical
    Report Series 843 (1994).
    """
    lowest = t_score <= OSTEOPOROSIS_T_SCORE
    return classes[0 if t_score >= NORMAL_T_SCORE else 2 if lowest else 1]


def notes(records: pd.DataFrame) -> dict[str, int]:
    """Count the images of each note: what was doubtful about how they are shown."""
    phrases = records.loc[records["note"] != "", "note"].str.split("; ").explode()
    return {str(phrase): int(count) for phrase, count in phrases.value_counts(sort=False).items()}


NAMED: Final = 3  # of them, a reason, in its table


@dataclass(frozen=True)
class Reason:
    """A reason why files are not used, their number, and the first of them."""

    status: str
    reason: str
    count: int
    examples: tuple[str, ...]


def reasons(records: pd.DataFrame) -> list[Reason]:
    """Return the reasons why files are not used: of rejected files first, then by frequency."""
    aside = records[records["status"] != USED]
    grouped = [
        Reason(str(status), str(reason), len(part), tuple(part["source"].head(NAMED)))
        for (status, reason), part in aside.groupby(["status", "reason"], sort=True)
    ]
    return sorted(grouped, key=lambda one: (one.status != REJECTED, -one.count, one.reason))
