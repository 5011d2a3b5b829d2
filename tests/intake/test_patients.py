import pytest
from hypothesis import given
from hypothesis import strategies as st

from knee.intake.patients import (
    KEY_VARIABLE,
    Told,
    disagreements,
    hashed,
    key_from_environment,
    origin,
    patient_and_side,
    remarks,
)
from tests.records.tables import records

PATTERN = r"^(?P<patient>P?\d+)_?(?P<side>[LR])"


@pytest.mark.parametrize(
    ("stem", "patient", "side"),
    [
        ("P0123_L_1", "P0123", "left"),
        ("P0123_R_2_aug_4", "P0123", "right"),
        ("9000099R", "9000099", "right"),
        ("Normal 12", "", ""),
    ],
)
def test_patient_and_side_come_from_the_stem(stem: str, patient: str, side: str) -> None:
    expected = hashed(patient, b"key") if patient else ""
    assert patient_and_side(stem, PATTERN, b"key") == (expected, side)


def test_files_are_counted_from_zero_and_a_placeholder_in_a_name_is_nobody() -> None:
    pattern = r"^(?P<patient>[^_]+)_(?P<side>\w+)"
    assert patient_and_side("000_L", pattern, b"key")[0] == hashed("0", b"key", from_zero=True)
    assert patient_and_side("anonymous_L", pattern, b"key") == ("", "left")


def test_a_pattern_that_takes_the_side_for_the_patients_keeps_the_knees_together() -> None:
    for left, right in (
        ("0007_L", "0007_R"),
        ("7 left", "7 right"),
        ("L7", "R7"),
        ("7_L_2", "7_R_2"),
    ):
        of_left, of_right = (
            patient_and_side(stem, "^(?P<patient>.+)$", b"key") for stem in (left, right)
        )
        assert of_left == of_right != ("", "")
    assert patient_and_side("0007_L", "(?P<patient>[LR])$", b"key")[0] == ""


def test_without_a_pattern_nobody_is_known() -> None:
    assert patient_and_side("P0123_L_1", "", b"key") == ("", "")


def test_a_pattern_without_side_still_tells_the_patient() -> None:
    patient, side = patient_and_side("7-x", r"^(?P<patient>\d+)", b"key")
    assert (patient, side) == (hashed("7", b"key"), "")


@pytest.mark.parametrize(("text", "side"), [("left", "left"), ("RIGHT", "right"), ("x", "")])
def test_a_side_may_be_a_word(text: str, side: str) -> None:
    pattern = r"^(?P<patient>\d+)_(?P<side>\w+)"
    assert patient_and_side(f"7_{text}", pattern, b"key")[1] == side


@given(st.from_regex("[a-z]{2}[1-9][0-9]{0,9}", fullmatch=True))
def test_the_hash_is_short_hexadecimal_and_depends_on_the_key(patient: str) -> None:
    found = hashed(patient, b"key")
    assert len(found) == 16
    assert set(found) <= set("0123456789abcdef")
    assert found != hashed(patient, b"another key")
    assert found != hashed(patient + "0", b"key")


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    assert key_from_environment() == b"secret"
    monkeypatch.delenv(KEY_VARIABLE)
    public = key_from_environment()
    monkeypatch.setenv(KEY_VARIABLE, "")
    assert key_from_environment() == public != b""


@pytest.mark.parametrize(
    ("stem", "expected"), [("N12", "short"), ("Normal 12", "spelled"), ("x", ""), ("", "")]
)
def test_the_origin_is_the_name_of_the_group_that_matches(stem: str, expected: str) -> None:
    pattern = r"(?P<short>^N\d)|(?P<spelled>^Normal )"
    assert origin(stem, pattern) == expected


def test_the_origin_is_what_a_group_of_that_name_matches() -> None:
    pattern = r"(?P<origin>site\w)_(?P<number>\d+)"
    assert origin("siteA_3", pattern) == "siteA"
    assert origin("siteA_3", "") == ""


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
