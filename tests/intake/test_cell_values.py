import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knee.intake.cell_values import age_years, is_date, is_empty, t_score

DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d\u02d7\u2043"
POINTS = ".,\uff0e\uff0c\u066b"
ZEROS = "0\uff10\u0660\u06f0\u0966"  # of ASCII, full-width, Arabic, Persian and Hindi digits
BEFORE = ("", "T = ", "t-score: ", "T-Score ", "T score=")
AFTER = ("", " SD", "SD", " s.d.", " sds")
ONE_DECIMAL = st.integers(-99, 99)  # of tenths


@given(
    ONE_DECIMAL,
    st.sampled_from(DASHES),
    st.sampled_from(["", " ", "\u00a0"]),
    st.sampled_from(POINTS),
    st.sampled_from(ZEROS),
    st.sampled_from(BEFORE),
    st.sampled_from(AFTER),
)
def test_a_t_score_is_read_however_it_is_written(
    tenths: int, dash: str, blank: str, point: str, zero: str, before: str, after: str
) -> None:
    digits = [chr(ord(zero) + int(digit)) for digit in f"{abs(tenths):02}"]
    sign = dash + blank if tenths < 0 else ""
    assert t_score(f"{before}{sign}{digits[0]}{point}{digits[1]}{after}") == tenths / 10


@given(st.floats(-12, 12))
def test_a_number_as_a_program_writes_it_is_that_number(number: float) -> None:
    assert t_score(repr(number)) == number


@pytest.mark.parametrize(
    "text",
    [
        *("low", "<-2.5", "-2.5/-1.9", "-1.5 to -2", "2.5-", "--2.5", "1_0", "5\u00b2", "\u00bd"),
        *(
            "1.2.3",
            "1,2,3",
            "inf",
            "nan",
            "1e999",
            "2024-05-01 00:00:00",
            "-2.5*",
            "Z -2.5",
            "- SD",
        ),
    ],
)
def test_what_is_no_single_number_is_none(text: str) -> None:
    assert t_score(text) is None


@pytest.mark.parametrize("unit", ["", "Y", " years", " yrs", " y/o", " years old", "yr", " Jahre"])
def test_an_age_may_have_its_unit(unit: str) -> None:
    assert age_years(f"067{unit}") == 67.0


@pytest.mark.parametrize("text", ["67M", "67 months", "90+", "60-70", "-3", "151"])
def test_an_age_that_is_none_is_none(text: str) -> None:
    assert age_years(text) is None


@given(st.text(max_size=6))
def test_any_text_is_a_number_or_none(text: str) -> None:
    for value in (t_score(text), age_years(text)):
        assert value is None or math.isfinite(value)


@pytest.mark.parametrize("text", ["0", "+", "No", "None", "I", "Normal"])
def test_what_says_something_is_not_empty(text: str) -> None:
    assert not is_empty(text)


@pytest.mark.parametrize("text", ["1-2", "0", "2024", "Normal", "T-1", "KL-2", "OAI-12", "1-abc"])
def test_what_is_no_date_is_none(text: str) -> None:
    assert not is_date(text)


@pytest.mark.parametrize("text", ["2024-02-01", "2024-02-01 00:00:00", "1-Feb", "01-FEB", "Feb-01"])
def test_what_excel_makes_of_1_2_is_a_date(text: str) -> None:
    assert is_date(text)
