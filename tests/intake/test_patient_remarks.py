"""Disagreeing sources and unknown patients are counted, and said without a number."""

from knee.intake.patient_remarks import disagreements, remarks
from knee.intake.patients import Told
from tests.records.tables import records


def test_sources_that_disagree_are_counted_and_patients_that_one_parts_are_named() -> None:
    assert disagreements([Told("a", "a", ""), Told("", "b", "b"), Told("c", "", "")]) == []
    (renamed,) = disagreements([Told("a", "x", ""), Told("a", "x", ""), Told("b", "y", "")])
    assert "sheet and header disagree in 3 files, and the sheet counts; 0 patients" in renamed
    (parted,) = disagreements([Told("a", "", "x"), Told("b", "", "x"), Told("", "", "x")])
    assert "disagree in 2 files" in parted
    assert "1 patients of the file name are several in the sheet: their images may be" in parted


def test_remarks_count_unknown_patients_names_without_a_match_and_contradictions() -> None:
    table = records([0] * 4, range(4))
    table["source"] = ["a/P7_L.png", "a/P7_R.png", "a/other.png", "a/P8_L.png"]
    table["patient"] = ["x", "x", "", "y"]
    table["sex"] = ["F", "M", "", ""]
    table["origin"] = ["one", "two", "", ""]
    unknown, names, sexes, origins = remarks(table, r"(?P<patient>P\d+)")
    assert unknown.startswith("the patient of 1 of 4 images is unknown")
    assert names == "data.patient_pattern tells a patient in 3 of 4 file names"
    assert sexes.startswith("1 patients have images of both sexes")
    assert origins.startswith("1 patients have images of several origins")
    known = table[table["source"] == "a/P8_L.png"]
    assert remarks(known, r"(?P<patient>P\d+)") == []
