"""One person's number has one form; placeholders are nobody; pseudonyms are somebody."""

# ruff: noqa: RUF001 (digits and letters of other scripts are the point)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knee.intake import patient_numbers
from knee.intake.patient_numbers import canonical, is_placeholder

PLACEHOLDERS = [
    *("", " ", "-", "----", "?", "***", "0", "000000", "0x0", "x", "XXX", "999999", "-1", "-999"),
    "−1",
    *("anon", "ANONYMOUS", "Anonymized", "anonymised", "ANONYMOUS^PATIENT", "[REDACTED]"),
    *("REDACTED", "removed", "de-identified", "unknown", "none", "NaN", "n/a", "null", "<none>"),
    *("test", "Test^Patient", "No Name", "Patient ID", "PATIENT X", "dummy", "TEST NAME"),
    *("anonymisiert", "Unbekannt", "gelöscht", "keine Angabe", "nicht bekannt", "entfernt"),
    *("Anonymisé", "anonymisée", "Désidentifié", "Inconnu", "anonimizado", "desconocido"),
    *("匿名", "匿名患者", "未知", "無", "不明", "テスト", "익명", "АНОНИМ", "Неизвестно"),
    *("00000000-0000-0000-0000-000000000000", "0.0.0.0", "０００", "ＡＮＯＮ"),
    *("1.23E+05", "1,2e+06", "1E+15"),
]
SOMEBODY = [
    *("ANON0001", "anon 7", "Anonymous_ID_AAA", "Patient 3", "patient A", "test1", "Subject-012"),
    *("1", "10X", "00100", "P-1", "4711", "A", "KA", "ANNA", "9999", "12345", "5e10", "1e5", "x7"),
    *("550e8400-e29b-41d4-a716-446655440000", "1.2.840.10008.5", "患者7", "Müller"),
]


@pytest.mark.parametrize("text", PLACEHOLDERS)
def test_what_stands_in_place_of_a_number_is_nobody(text: str) -> None:
    for written in (text, text.upper(), text.lower(), f" {text}\t", f"{text}\u00a0"):
        assert is_placeholder(written)


@pytest.mark.parametrize("text", SOMEBODY)
def test_a_number_or_a_pseudonym_is_somebody(text: str) -> None:
    for written in (text, text.upper(), text.lower(), f" {text} "):
        assert not is_placeholder(written)


@pytest.mark.parametrize("text", ["0", "0.0", "０"])
def test_a_lone_0_is_somebody_where_patients_are_counted_from_0(text: str) -> None:
    assert not is_placeholder(text, from_zero=True)
    assert is_placeholder(text)
    assert is_placeholder("00", from_zero=True)


@pytest.mark.parametrize(
    "ways",
    [
        ("7", "7.0", "7,0", "7.00", "007", "007.0", "７", "٧", " 7 ", "7\x00", "7_L", "R7", "#7"),
        ("p7", "P007", "p 007", "P.7", "P_0007", "Ｐ７", "P007_R", "P007-left", "p007 rechts"),
        ("1234", "1234.0", "01234", "1234L", "1234 (R)", "1234左"),
        ("anon1", "ANON0001", "Anon 1", "anon^1"),
        ("007_ap_L", "007_AP_R"),
        ("12", "12_V1", "12-visit-02", "12 baseline", "12_FU2_L", "12_R_V3", "12 follow-up"),
        ("007_L_ap", "007_right_AP"),
        ("12345", "12,345", "12.345", "12 345", "12'345", "012.345"),
        ("12-34", "12‑34", "12_34", "12 34", "12-\u200b34"),
        ("12-345", "12‑345", "12–345", "12−345", "12_345", "12/345", "12 345", "12-\u200b345"),
        ("7", "7_left_knee", "7 LK", "RK7", "7-knee-R", "7RIGHTKNEE", "7左膝", "7 izq.", "7_dx"),
        ("p7", "P7_Knie_links", "P7 genou droit", "p7 правое", "P07 rodilla derecha"),
        ("7-A", "7A", "7 a", "07_a", "7/A"),
        ("Smith, John", "SMITH^JOHN", "smith john", "Smith  John"),
        ("Ärzte-1", "A\u0308rzte 1", "ÄRZTE01"),
    ],
)
def test_all_ways_to_write_a_number_are_one(ways: tuple[str, ...]) -> None:
    assert len({canonical(way) for way in ways}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("7", "70"),
        ("1-11", "11-1"),
        ("1.5", "1.05"),
        ("1.000", "1"),  # a thousand, perhaps
        ("7", "P7"),
        ("A7", "B7"),
        ("7.1", "7"),
        ("12 3", "123"),
        ("1-23", "12-3"),
        ("KL7", "7"),
        ("Leftwich 1", "1"),
        ("कि", "की"),
        ("ANON0001", "ANON0010"),
        ("Miller", "Mile"),
    ],
)
def test_different_numbers_stay_apart(one: str, other: str) -> None:
    assert canonical(one) != canonical(other)


@given(st.integers(1, 10**9), st.integers(0, 6), st.sampled_from(["", "p", "ANON", "S-"]))
def test_zeros_case_points_and_sides_never_part_a_patient(
    number: int, zeros: int, prefix: str
) -> None:
    plain = canonical(f"{prefix}{number}")
    padded = f"{prefix}{'0' * zeros}{number}"
    ways = [padded, padded.upper(), f"{padded}_L", f"{padded}R", f" {padded} "]
    assert {canonical(way) for way in ways} == {plain}
    assert canonical(f"{number}.0") == canonical(str(number))
    assert plain != canonical(f"{prefix}{number + 1}")


def test_remarks_name_rows_and_no_number() -> None:
    numbers = ["7", "S7", "007", "7.0", "s-7", "8", "ANON", "1.23E+05", "000", "9", "9"]
    several, nobody, scientific = patient_numbers.remarks(enumerate(numbers, start=2))
    assert "one patient: 2, for example in rows 2 and 4" in several
    assert "rows 8, 10 is a placeholder" in nobody
    assert "row 9 is in scientific notation" in scientific
    assert "s7" not in f"{several}{nobody}{scientific}".lower()


def test_numbers_in_one_form_need_no_remark() -> None:
    assert patient_numbers.remarks(enumerate(["0", "7", "7", "P007", "P008", "ANON0001"])) == []


@pytest.mark.parametrize(
    "text", ["L", "left", "Left knee", "LK", "knee: left", "links", "Izq.", "левый", "左膝", "좌"]
)
def test_a_side_is_read_with_the_knee_or_without(text: str) -> None:
    assert patient_numbers.side(text) == "left"


@pytest.mark.parametrize("text", ["", "both", "knee", "left right", "l7r", "leftover", "K"])
def test_other_texts_tell_no_side(text: str) -> None:
    assert patient_numbers.side(text) == ""
