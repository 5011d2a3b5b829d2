"""Texts of a label sheet's cells as values: numbers, sexes, and what means unknown."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Final

from knee.reading.decoded import OLDEST_YEARS

EMPTY: Final = frozenset(
    (
        *("nan", "<na>", "nat", "na", "n/a", "n.a.", "#n/a", "null"),
        *("missing", "unknown", "not available"),
    )
)
FAULTS: Final = frozenset(  # what a spreadsheet program shows of a formula that failed
    ("#null!", "#div/0!", "#value!", "#ref!", "#name?", "#num!", "#spill!", "#calc!")
)
SEXES: Final = {"f": "F", "female": "F", "w": "F", "m": "M", "male": "M"}
MINUS: Final = "\N{MINUS SIGN}\N{MODIFIER LETTER MINUS SIGN}\N{HYPHEN BULLET}"
POINTS: Final = ",\N{ARABIC DECIMAL SEPARATOR}\N{FULLWIDTH COMMA}\N{FULLWIDTH FULL STOP}"
NUMBER: Final = r"([+-]?)\s*((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)"
T_SCORE: Final = re.compile(rf"(?:t(?:[ -]?score)?\s*[:=]?\s*)?{NUMBER}\s*(?:sds?|s\. ?d\.)?")
YEARS: Final = r"(?:y|yrs?|years?|y\.?o\.?|y/o|years old|j|jahre|ans|a\xf1os|anni)"
AGE: Final = re.compile(rf"{NUMBER}\s*{YEARS}?")
MONTH: Final = "(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
DATE: Final = re.compile(
    rf"\d{{4}}-\d\d-\d\d( \d\d:\d\d:\d\d)?|\d{{1,2}}-{MONTH}|{MONTH}-\d\d", re.IGNORECASE
)


def is_empty(text: str) -> bool:
    """Return whether the cell says that something is unknown, as an empty one does."""
    return text.lower() in EMPTY or not any(letter.isalnum() or letter == "+" for letter in text)


def is_fault(text: str) -> bool:
    """Return whether the cell is the result of a formula that failed."""
    return text.lower() in FAULTS


def is_date(text: str) -> bool:
    """Return whether the cell is a date, as Excel makes one of 1-2."""
    return DATE.fullmatch(text) is not None


def t_score(text: str) -> float | None:
    """Return a T-score, with or without its name and unit; None for other text."""
    return _number(T_SCORE, text)


def age_years(text: str) -> float | None:
    """Return an age, also as DICOM writes it (067Y); above 90 it would identify, and is 90."""
    years = _number(AGE, text)
    return min(years, OLDEST_YEARS) if years is not None and 0 <= years <= 150 else None


def _number(pattern: re.Pattern[str], text: str) -> float | None:
    """A finite number, with a point or a decimal comma, any script's digits and any dash."""
    match = pattern.fullmatch("".join(map(_plain, text)).casefold())
    number = float(f"{match[1]}{match[2]}") if match else math.nan
    return number if math.isfinite(number) else None


def _plain(letter: str) -> str:
    """`letter`, or the ASCII character that people mean by it in a number."""
    if unicodedata.category(letter) == "Pd" or letter in MINUS:
        return "-"
    return "." if letter in POINTS else "+" if letter == "\N{FULLWIDTH PLUS SIGN}" else letter
