"""Whatever is wrong with a sheet: one clear line and status 1, or a row with its reason."""

from __future__ import annotations

import io

import openpyxl
import pytest

from knee.validation import records_suite
from tests.films import CLASSES, GOOD, encoded, fill, film, png
from tests.intake.packing import zipped
from tests.trials import Trial

ROWS = [[name, name.split("/")[0]] for name in GOOD]
TREE = {f"study{number % 2}/{number:03}": content for number, content in enumerate(GOOD.values())}
CLASSES_OF_TREE = [label for _, label in ROWS]
TREE_ROWS = [[name, label] for name, label in zip(TREE, CLASSES_OF_TREE, strict=True)]


def sheet(*rows: list[str], header: str = "path,label") -> bytes:
    return "\n".join([header, *(",".join(row) for row in rows), ""]).encode()


def workbook(*rows: list[str]) -> bytes:
    book = openpyxl.Workbook()
    for row in (["path", "label"], *rows):
        book.active.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


@pytest.mark.parametrize("make", [sheet, workbook])
@pytest.mark.parametrize("packed", [False, True])
def test_any_tree_and_a_sheet_will_do(trial: Trial, packed: bool, make: object) -> None:
    assert callable(make)
    fill(trial.folder / "images", TREE)
    fill(trial.folder, {"films.zip": zipped(TREE), "sheet": make(*TREE_ROWS)})
    assert trial.reasons("films.zip" if packed else "images", "sheet") == {}
    found = [list(row) for row in trial.records[["source", "label"]].itertuples(index=False)]
    assert found == sorted(TREE_ROWS)
    assert set(trial.records["class_index"]) == {0, 1, 2}


def test_every_file_and_every_row_is_in_the_table(trial: Trial) -> None:
    extra = {"no row.png": png(80), "empty.png": png(81), "nan.png": png(82), "other.png": png(83)}
    fill(trial.folder / "images", GOOD | extra | {"text.png": b"x"})
    rows = [*ROWS, ["empty.png", ""], ["nan.png", "NaN"], ["other.png", "Healthy"]]
    rows += [["text.png", "Normal"], ["missing.png", "Normal"], ROWS[0]]
    fill(trial.folder, {"sheet.csv": sheet(*rows)})
    assert trial.reasons(sheet="sheet.csv") == {
        "empty.png": "the sheet gives no label",
        "nan.png": "the sheet gives no label",
        "other.png": "label 'Healthy' is none of data.classes",
        "text.png": "not a JPEG, PNG, TIFF, BMP or DICOM image",
        "missing.png": "the sheet's file does not exist",
    }
    assert len(trial.records) == len(GOOD) + 6
    unlisted = trial.records[trial.records["status"] == "unlisted"]
    assert unlisted[["source", "reason"]].to_numpy().tolist() == [
        ["no row.png", "no row in the sheet"]
    ]


def test_files_beside_those_of_the_sheet_are_no_share_of_the_rejected(trial: Trial) -> None:
    beside = {f"VIEWER/lib{number}.dll": b"MZ" for number in range(30)} | {"DICOMDIR": b"x"}
    fill(trial.folder / "images", GOOD | beside)
    fill(trial.folder, {"sheet.csv": sheet(*ROWS)})
    assert trial.reasons(sheet="sheet.csv") == {}
    assert trial.records["status"].value_counts().to_dict() == {"unlisted": 31, "used": len(GOOD)}
    limits = records_suite.Thresholds(1, 0.0, 0.0, 0.0, 1.0, 0.0)
    assert all(suite["success"] for suite in records_suite.check(trial.records, limits, None))


def test_a_sheet_outvotes_the_folders(trial: Trial) -> None:
    fill(trial.folder / "images", GOOD)
    turned = [[name, "B" if label == "Normal" else "A"] for name, label in ROWS]
    fill(trial.folder, {"sheet.csv": sheet(*turned)})
    assert trial.reasons(sheet="sheet.csv", classes=()) == {}
    assert set(trial.records["label"]) == {"A", "B"}


def test_t_scores_label_by_the_who_and_stay_in_the_table(trial: Trial) -> None:
    fill(trial.folder / "images", TREE)
    scores = {"Normal": "0.4", "Osteopenia": "-1.8", "Osteoporosis": "-2.5"}
    rows = [[name, scores[label]] for name, label in TREE_ROWS]
    fill(trial.folder, {"sheet.csv": sheet(*rows, header="path,t_score")})
    assert trial.reasons(sheet="sheet.csv") == {}
    assert dict(zip(trial.records["source"], trial.records["label"], strict=True)) == dict(
        zip(TREE, CLASSES_OF_TREE, strict=True)
    )
    assert set(trial.records["t_score"]) == {0.4, -1.8, -2.5}


def test_a_patient_in_the_sheet_is_one_group_and_nowhere_in_the_clear(trial: Trial) -> None:
    fill(trial.folder / "images", TREE)
    rows = [[*row, f"SECRET{number // 3}", "R"] for number, row in enumerate(TREE_ROWS)]
    fill(trial.folder, {"sheet.csv": sheet(*rows, header="path,label,patient,side")})
    assert trial.reasons(sheet="sheet.csv") == {}
    assert trial.records["patient"].nunique() == trial.records["group"].nunique() == 3
    assert set(trial.records["side"]) == {"right"}
    assert b"SECRET" not in (trial.folder / "out" / "records.csv").read_bytes()
    assert "SECRET" not in trial.error


BAD_SHEETS: dict[str, tuple[bytes, str]] = {
    "binary": (encoded(film(0)), "is neither text nor an Excel file"),
    "old Excel": (b"\xd0\xcf\x11\xe0" + bytes(600), "save it as .xlsx without a password, or"),
    "not UTF-8": ("path,label\n\u00e9.png,x\n".encode("latin-1"), "is not UTF-8 (line 2)"),
    "no path column": (sheet(*ROWS, header="file,label"), "has no column path"),
    "no header": (sheet(*ROWS[1:], header=",".join(ROWS[0])), "has no column path"),
    "contradiction": (sheet(*ROWS, [ROWS[0][0], "Osteopenia"]), "rows 2 and 11 say different"),
    "ragged": (sheet([*ROWS[0], "more"]), "row 2: more cells than the header"),
    "one class": (sheet(*([name, "Normal"] for name, _ in ROWS)), "has only one class, Normal"),
    "label with a slash": (sheet([ROWS[0][0], "../x"]), "'../x' cannot be the name"),
    "long label": (sheet([ROWS[0][0], "x" * 99]), "cannot be the name of a class"),
    "row without path": (sheet(["", "Normal"]), "row 2: no path"),
    "other folder": (sheet(["films/x.png", "Normal"]), "no path fits a file"),
    "labels of another scale": (
        sheet(*([name, "2"] for name, _ in ROWS)),
        "has no usable image in Normal, Osteopenia, Osteoporosis (rejected: label '2' is none of",
    ),
    "no row": (sheet(), "has no row below its header: fill it, or set data.sheet to conf/no_sheet"),
    "empty": (b"", "has no column path in its first row"),
    "title above": (b"Knee study\n\n" + sheet(*ROWS), "row 3 is the header: remove the rows above"),
    "label by another name": (sheet(*ROWS, header="path,Diagnosis"), "rename it to label if it is"),
    "formulas": (workbook(["a", '=IF(1>0,"Normal","x")']), "row 2: label is a formula without a"),
    "separator": (sheet([ROWS[0][0], "A|B"]), "'A|B' cannot be the name of a class"),
    "no order": (
        sheet(*([name, "ABC"[number % 3]] for number, (name, _) in enumerate(ROWS))),
        "has the classes A, B, C, whose order is not known: give it, from least to most severe",
    ),
    "a class is missing": (sheet(*ROWS[:6]), "has no usable image in Osteoporosis"),
}
OPEN_SCALE = ("one class", "label with a slash", "long label", "separator", "no order")


@pytest.mark.parametrize("case", BAD_SHEETS)
def test_a_sheet_that_cannot_be_used_is_one_line(trial: Trial, case: str) -> None:
    content, message = BAD_SHEETS[case]
    fill(trial.folder / "images", GOOD)
    fill(trial.folder, {"sheet.csv": content})
    open_scale = case in OPEN_SCALE
    assert message in trial.refused(sheet="sheet.csv", classes=() if open_scale else CLASSES)


def test_a_missing_sheet_is_one_line(trial: Trial) -> None:
    fill(trial.folder / "images", GOOD)
    assert "is not a file: set data.sheet" in trial.refused(sheet="missing.csv")


def test_t_scores_without_a_scale_are_one_line(trial: Trial) -> None:
    fill(trial.folder / "images", GOOD)
    fill(trial.folder, {"sheet.csv": sheet([ROWS[0][0], "-1"], header="path,t_score")})
    assert "has t_score but no label" in trial.refused(sheet="sheet.csv", classes=())
