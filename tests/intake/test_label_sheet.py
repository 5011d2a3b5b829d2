import logging
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knee.intake.label_sheet import Sheet, read_sheet
from knee.intake.patients import hashed
from knee.intake.spreadsheet import SheetError
from knee.records.records_table import who_class

WHO = ("Normal", "Osteopenia", "Osteoporosis")


def sheet(folder: Path, text: str, classes: tuple[str, ...] = ()) -> Sheet:
    path = folder / "sheet.csv"
    path.write_text(text, encoding="utf-8")
    return read_sheet(path, classes, b"key")


def test_a_row_fills_the_columns_of_the_records(tmp_path: Path) -> None:
    (row,) = sheet(
        tmp_path,
        "Path, LABEL ,Patient,Side,AGE,sex,t_score,origin\n"
        "a/1.png,Normal,P7,R,067Y,w,-1.5,Site A\n",
    ).rows
    assert (row.number, row.path, row.label) == (2, "a/1.png", "Normal")
    assert row.facts == {
        "patient": hashed("P7", b"key"),
        "side": "right",
        "sex": "F",
        "age_years": 67.0,
        "t_score": -1.5,
        "origin": "Site A",
    }


def test_no_patient_number_is_kept_or_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        found = sheet(tmp_path, "path,patient,side,ward\na,SECRET-1,SECRET-2,SECRET-3\n")
    assert "SECRET" not in repr(found) + caplog.text
    assert "side cannot be read in row 2: left out" in caplog.text


@pytest.mark.parametrize("text", ["path,label\n", "path,label", "path,label\n,\n\n", "path"])
def test_only_the_sheet_that_is_none_may_be_without_rows(tmp_path: Path, text: str) -> None:
    path = tmp_path / "no_sheet.csv"
    path.write_text(text)
    found = read_sheet(path, (), b"key")
    assert (list(found.rows), found.labelled) == ([], False)
    with pytest.raises(SheetError, match="has no row below its header: fill it, or set data"):
        sheet(tmp_path, text)


@pytest.mark.parametrize("text", ["", "Study of knees\n", "\n\n"])
def test_a_sheet_without_the_column_path_is_refused_with_or_without_rows(
    tmp_path: Path, text: str
) -> None:
    with pytest.raises(SheetError, match="has no column path in its first row"):
        sheet(tmp_path, text)


def test_a_sheet_without_labels_leaves_them_to_the_folders(tmp_path: Path) -> None:
    assert not sheet(tmp_path, "path,patient\na,1\n").labelled
    assert sheet(tmp_path, "path,label\na,x\n").labelled


@pytest.mark.parametrize("text", ["", "NaN", "N/A", "null", " ", "\u2013", "--", ".", "?", "<NA>"])
def test_what_means_unknown_is_no_label_and_no_fact(tmp_path: Path, text: str) -> None:
    (row,) = sheet(tmp_path, f"path,label,patient,age\na,{text},{text},{text}\n").rows
    assert (row.label, row.facts["patient"]) == ("", "")
    assert math.isnan(row.facts["age_years"])


def test_a_class_may_have_a_name_that_means_unknown_elsewhere(tmp_path: Path) -> None:
    (row,) = sheet(tmp_path, "path,label\na,NA\n", ("NA", "OA")).rows
    assert row.label == "NA"


@pytest.mark.parametrize(
    ("text", "years"), [("67", 67.0), ("67,5", 67.5), ("007Y", 7.0), ("0", 0.0), ("97", 90.0)]
)
def test_ages_are_numbers(tmp_path: Path, text: str, years: float) -> None:
    (row,) = sheet(tmp_path, f"path;age\na;{text}\n").rows
    assert row.facts["age_years"] == years


@pytest.mark.parametrize("text", ["unknown", "ANONYMOUS", "000000", "---"])
def test_a_number_that_stands_for_nobody_is_no_patient(tmp_path: Path, text: str) -> None:
    (row,) = sheet(tmp_path, f"path,patient\na,{text}\n").rows
    assert row.facts["patient"] == ""


def test_patient_0_is_somebody(tmp_path: Path) -> None:
    (row,) = sheet(tmp_path, "path,patient\na,0\n").rows
    assert row.facts["patient"] == hashed("0", b"key", from_zero=True) != ""


@pytest.mark.parametrize("text", ["old", "-3", "200", "inf", "067M", "1e999"])
def test_an_age_that_is_none_is_unknown_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    (row,) = sheet(tmp_path, f"path;age\na;{text}\n").rows
    assert math.isnan(row.facts["age_years"])
    assert "age cannot be read in row 2" in caplog.text


def test_columns_that_are_not_used_are_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        sheet(tmp_path, "path,BMI,ward\na,1,2\n")
    assert "columns not used: 'BMI', 'ward'" in caplog.text


@pytest.mark.parametrize(
    ("t_score", "index"),
    [(0.3, 0), (-1.0, 0), (-1.01, 1), (-2.49, 1), (-2.5, 2), (-4.0, 2)],
)
def test_the_classes_of_the_who_meet_at_their_cut_offs(t_score: float, index: int) -> None:
    assert who_class(t_score, WHO) == WHO[index]


@given(st.floats(-6, 4), st.floats(-6, 4))
def test_a_lower_t_score_is_never_a_milder_class(one: float, two: float) -> None:
    low, high = sorted([one, two])
    assert WHO.index(who_class(low, WHO)) >= WHO.index(who_class(high, WHO))


def test_labels_come_from_t_scores_where_there_is_no_label(tmp_path: Path) -> None:
    text = "path;t_score\na;-1,0\nb;\u22122,5\nc;-1.7\nd;\ne;low\n"
    found = sheet(tmp_path, text, WHO)
    assert found.labelled
    assert [row.label for row in found.rows] == ["Normal", "Osteoporosis", "Osteopenia", "", ""]


def test_a_label_beside_the_t_score_is_taken_as_it_is(tmp_path: Path) -> None:
    (row,) = sheet(tmp_path, "path,label,t_score\na,Normal,-3\n", WHO).rows
    assert (row.label, row.facts["t_score"]) == ("Normal", -3.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na,b\n", "has no column path in its first row"),
        ("a/1.png,Doe\na/2.png,Doe\n", "has no column path in its first row"),
        ("path,label,Label\na,b,c\n", "has the column label twice"),
        ("path,patient,Patient ID\na,b,c\n", r"patient twice \('patient', 'Patient ID'\): remove"),
        ("Study 7\n\npath,label\na,b\n", "row 3 is the header: remove the rows above it"),
        ("path,label\na,2024-02-01\n", "row 2: the label is a date"),
        ("path,label\na,1\nb,01-Feb\n", "row 3: the label is a date"),
        ("path,label\n,b\n", "row 2: no path"),
        ("path,label\na,b,c\n", "row 2: more cells than the header"),
        ("path,t_score\na,-1\n", r"has t_score but no label: add a column label, or set data\."),
    ],
)
def test_a_sheet_that_cannot_be_used_is_one_line_that_says_what_to_do(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(SheetError, match=message) as raised:
        sheet(tmp_path, text)
    assert str(tmp_path / "sheet.csv") in str(raised.value)
    assert "Doe" not in str(raised.value)


@pytest.mark.parametrize("classes", [WHO[::-1], WHO[:2], ("0", "1", "2")])
def test_t_scores_are_no_labels_on_another_scale(tmp_path: Path, classes: tuple[str, ...]) -> None:
    with pytest.raises(SheetError, match="has t_score but no label"):
        sheet(tmp_path, "path,t_score\na,-1\n", classes)


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        *((name, "patient") for name in ("patient_id", "patientid", "Patient ID", "PatientID")),
        *(
            (name, "patient")
            for name in ("Patient-ID", "Subject ID", "participant_id", "Pati\u00e9nt")
        ),
        *((name, "t_score") for name in ("T-score", "T score", "TScore", "\uff34-score")),
        *((name, "sex") for name in ("Gender", "SEX", "Patient Sex")),
        *((name, "age_years") for name in ("Age (years)", "patient_age", "\u00c2ge")),
        ("Laterality", "side"),
    ],
)
def test_a_column_by_a_well_known_name_is_read_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, fact: str
) -> None:
    values = {"patient": "7", "t_score": "-1", "sex": "F", "age_years": "50", "side": "L"}
    with caplog.at_level(logging.INFO):
        (row,) = sheet(tmp_path, f"path,label,{name}\na,x,{values[fact]}\n").rows
    assert row.facts[fact] not in ("", None)
    assert row.facts[fact] == row.facts[fact]
    assert name.isupper() or f"the column '{name}' is read as" in caplog.text


@pytest.mark.parametrize(
    ("name", "column"),
    [
        *((name, "patient") for name in ("patients", "Patient name", "patient_hash", "paciente")),
        *((name, "t_score") for name in ("T-score L1-L4", "T-scores", "hip_t_score", "score")),
        *((name, "sex") for name in ("sexe", "Sex at birth", "gender_code")),
        *((name, "age") for name in ("age at scan", "Ages", "Age group")),
        *((name, "side") for name in ("knee side", "Sides", "laterality_code")),
        *((name, "origin") for name in ("origins", "Origin of film")),
    ],
)
def test_a_column_with_nearly_a_name_of_ours_stops_unless_ours_is_there(
    tmp_path: Path, name: str, column: str
) -> None:
    with pytest.raises(SheetError, match=f"the column '{name}': rename it to {column} if it is"):
        sheet(tmp_path, f"path,label,{name}\na,x,1\n")
    assert sheet(tmp_path, f"path,label,{name},{column}\na,x,1,\n").rows


@pytest.mark.parametrize("name", ["class", "Diagnosis", "KL grade", "labels", "Label 2023"])
def test_labels_by_another_name_are_never_passed_over_for_the_folders(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(SheetError, match="rename it to label if it is that"):
        sheet(tmp_path, f"path,{name}\na,x\n")


@pytest.mark.parametrize("name", ["image", "stage", "dosage", "BMI", "ward", "original", "Z-score"])
def test_other_columns_are_only_said(tmp_path: Path, name: str) -> None:
    assert sheet(tmp_path, f"path,{name}\na,x\n").rows


@pytest.mark.parametrize("fault", ["#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!"])
def test_the_result_of_a_broken_formula_is_no_value_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    (row,) = sheet(tmp_path, f"path,label,patient,t_score\na,{fault},{fault},{fault}\n").rows
    assert (row.label, row.facts["patient"]) == ("", "")
    for column in ("label", "patient", "t_score"):
        assert f"{column} cannot be read in row 2" in caplog.text


def test_labels_and_t_scores_that_disagree_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sheet(tmp_path, "path,label,t_score\na,Normal,-3\nb,normal,-1\nc,,-3\nd,Osteopenia,0\n", WHO)
    assert "label and t_score disagree by the cut-offs of the WHO in rows 2, 5" in caplog.text
