import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knee.intake.patients import (
    KEY_VARIABLE,
    KeyCheckError,
    Told,
    check_key,
    hashed,
    key_check,
    key_from_environment,
    origin,
    patient_and_side,
    resolved,
)

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


def test_the_check_value_tells_keys_apart_and_no_patient(tmp_path: Path) -> None:
    file = tmp_path / "checked.json"
    file.write_text(json.dumps({"patient_key": key_check(b"one")}))
    check_key(file, b"one")
    with pytest.raises(KeyCheckError, match="is of another KNEE_PATIENT_KEY"):
        check_key(file, b"two")
    assert key_check(b"one") != hashed("check value of KNEE_PATIENT_KEY", b"one")


@given(st.permutations(range(5)))
def test_a_patient_has_one_name_whichever_source_tells_of_a_file(order: list[int]) -> None:
    told = [
        Told("S1", "4711", ""),
        Told("", "4711", "P7"),
        Told("", "", "P7"),
        Told("S2", "", ""),
        Told("", "", ""),
    ]
    found = resolved([told[index] for index in order])
    named = dict(zip(order, found, strict=True))
    assert [named[index] for index in range(5)] == ["S1", "S1", "S1", "S2", ""]
