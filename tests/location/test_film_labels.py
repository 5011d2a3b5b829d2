"""Labels of films of two knees."""

from __future__ import annotations

from pathlib import Path

import pytest

from knee.intake import patients
from knee.intake.spreadsheet import UNSAVED, SheetError
from knee.location import film_files, film_labels
from tests.films import NO_SHEET

FILMS = ["a.png", "b.png"]


def read(folder: Path, text: str) -> film_labels.FilmLabels:
    (folder / "films.csv").write_text(text)
    return film_labels.read(folder / "films.csv").of(FILMS)


def test_a_film_has_a_label_or_one_for_each_side(tmp_path: Path) -> None:
    labels = read(
        tmp_path, "path,label,Label_Left,label right,sex\na.png,,0,3,F\nb.png,1,,01,\nc.png,1,-,,\n"
    )
    assert labels.facts("a.png", "right") == {"label": "3", "sex": "F"}
    assert labels.facts("a.png", "left") == {"label": "0", "sex": "F"}
    assert labels.facts("b.png", "left") == {"label": "1"}
    assert labels.facts("d.png", "left") == {}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a.png,2,,3", r"films\.csv, row 2: label is '2' and label_right '3': empty the label"),
        ("a.png,2,1,", r"films\.csv, row 2: label is '2' and label_left '1'"),
    ],
)
def test_a_label_that_contradicts_one_of_a_side_is_refused(
    tmp_path: Path, row: str, said: str
) -> None:
    with pytest.raises(SheetError, match=said):
        read(tmp_path, f"path,label,label_left,label_right\n{row}\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,label_left\n", "has no row below its header"),
        ("path,label_left\n,2\n", "row 2: no path"),
        ("path,label_left\na.png,2,3\n", "row 2: more cells than the header"),
        ("path,label_right\na.png,2024-02-01 00:00:00\n", "row 2: the label is a date"),
        (f"path,label_left\na.png,{UNSAVED}\n", "row 2: label.?left is a formula without"),
        ("path,label,side\na.png,2,sideways\n", "row 2: the side 'sideways' is neither left nor"),
    ],
)
def test_a_sheet_that_cannot_be_used_is_refused_by_its_row(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(SheetError, match=rf"films\.csv.* {said}"):
        read(tmp_path, text)


def test_the_sheet_that_is_none_says_nothing() -> None:
    assert not film_labels.read(NO_SHEET).rows


def test_a_film_has_a_row_for_each_side(tmp_path: Path) -> None:
    labels = read(tmp_path, "path,side,label\na.png,L,2\n./a.png,R,4\nb.png,left,1\n")
    assert [labels.facts("a.png", side)["label"] for side in ("left", "right")] == ["2", "4"]
    assert labels.facts("a.png", "") == {}
    assert labels.only_side("a.png") == ""
    assert labels.only_side("b.png") == "left"


@pytest.mark.parametrize(
    ("columns", "near"),
    [
        ("path,diagnosis", "label"),
        ("path,label_left,label_rigth", "label_right"),
        ("path,left label,b", "label_left"),
        ("path,KL right,b", "label_right"),
        ("path,right_grade,b", "label_right"),
        ("path,label,patient name", "patient"),
    ],
)
def test_a_column_that_is_nearly_one_of_ours_is_refused(
    tmp_path: Path, columns: str, near: str
) -> None:
    with pytest.raises(SheetError, match=f"rename it to {near} if"):
        read(tmp_path, f"{columns}\na.png,2,2\n")


def test_a_column_that_resembles_one_that_is_there_is_not_read(tmp_path: Path) -> None:
    labels = read(tmp_path, "path,label,label 2,MRN,patient name,film\na.png,2,3,P1,x,y\n")
    assert labels.facts("a.png", "left") == {"label": "2", "patient": "P1"}


def test_a_label_of_a_side_is_not_given_to_a_knee_of_unknown_side(tmp_path: Path) -> None:
    assert read(tmp_path, "path,label_left\na.png,2\n").facts("a.png", "") == {}


def test_a_row_finds_its_film_as_in_a_label_sheet_and_one_without_is_kept(tmp_path: Path) -> None:
    labels = read(tmp_path, "path,label\n.\\A,0\nb.png,1\nc.png,1\n")
    assert {*labels.rows} == {"a.png", "b.png"}
    assert labels.absent == {"c.png": "the sheet's file does not exist"}


@pytest.mark.parametrize(
    ("text", "gives"),
    [
        ("path,label_left\na.png,2\n", "label"),
        ("path,T-score\na.png,-2\n", "t_score"),
        ("path,t_score,label\na.png,-2,3\n", "label"),
        ("path,patient\na.png,P1\n", ""),
    ],
)
def test_a_sheet_gives_the_classes_or_the_folders_do(tmp_path: Path, text: str, gives: str) -> None:
    assert read(tmp_path, text).label_column == gives


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("film,label\na.png,1\n", "no column path"),
        ("path,label,label\na.png,1,1\n", "twice"),
        ("path,label\nelsewhere.png,1\n", "no path fits a film: the first says 'elsewhere.png'"),
        ("path,label\n,1\n", "row 2: no path"),
        ("path,label\na.png,1\na.png,2\n", "2 rows of 'a.png': give each another side"),
        ("path,side,label\na.png,L,1\na.png,left,2\n", "2 rows of 'a.png'"),
    ],
)
def test_a_sheet_that_is_not_clear_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SheetError, match=message):
        read(tmp_path, text)


def test_a_placeholder_of_the_users_own_is_no_patient() -> None:
    cutting = film_files.Cutting(1.84, 64.0, b"key", ("Dummy 7",))
    assert cutting.hashed("dummy7") == ""
    assert cutting.hashed("P7") == patients.hashed("P7", b"key") != ""


def test_neither_the_key_nor_a_patients_number_is_in_the_text_of_an_object(tmp_path: Path) -> None:
    labels = read(tmp_path, "path,patient\na.png,P1234\n")
    assert "P1234" not in repr(labels)
    assert "secret" not in repr(film_files.Cutting(1.84, 64.0, b"secret"))
