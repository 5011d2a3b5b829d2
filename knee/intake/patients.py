"""Patient, side and origin by a file's name; the patient is kept as a keyed hash only.

Pseudonymous, not anonymous: who has the key and a list of patient numbers can find each again.
Set KNEE_PATIENT_KEY to a secret of your own; without it the key is the public one below, which
makes results repeatable everywhere and protects nothing. The records table names every source
file, too: where file names identify patients, so does the table.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final, NamedTuple

import pandas as pd

from knee.intake import patient_numbers
from knee.records import known_patients

KEY_VARIABLE: Final = "KNEE_PATIENT_KEY"
PUBLIC_KEY: Final = "knee-bone-health: public key, not a secret"
SIDES: Final = patient_numbers.SIDES
HASH_CHARACTERS: Final = 16  # 64 bits: a million patients collide with probability 3e-8


def key_from_environment() -> bytes:
    """Return the key of the hashes: KNEE_PATIENT_KEY, or the public one."""
    return (os.environ.get(KEY_VARIABLE) or PUBLIC_KEY).encode()


def patient_and_side(stem: str, pattern: str, key: bytes) -> tuple[str, str]:
    """Return the keyed hash of the patient and left or right, each "" if unknown."""
    groups = _groups(stem, pattern)
    side = SIDES.get(groups.get("side", "").lower(), "")
    number = groups.get("patient", "")
    counted = number.lstrip("0") or number[:1]  # files are counted from 000
    return hashed(counted, key, from_zero=True), side


class Told(NamedTuple):
    """The hashes of a file's patient by who tells it, the most trusted first; "" for unknown."""

    sheet: str
    header: str
    file_name: str


def disagreements(told: Sequence[Told]) -> list[str]:
    """Return what to know where two sources tell different patients of the same files."""
    said = []
    for one, other in itertools.combinations(range(len(Told._fields)), 2):
        both = [(row[one], row[other]) for row in told if row[one] and row[other]]
        files = sum(first != second for first, second in both)
        several = Counter(second for _, second in set(both))
        parted = sum(count > 1 for count in several.values())
        if files:
            names = [Told._fields[place].replace("_", " ") for place in (one, other)]
            said.append(
                f"patient: {names[0]} and {names[1]} disagree in {files} files, and the {names[0]} "
                f"counts; {parted} patients of the {names[1]} are several in the {names[0]}"
                + (": their images may be in both training and test" if parted else "")
            )
    return said


def remarks(images: pd.DataFrame, pattern: str) -> list[str]:
    """Return what to know about the patients of `images`, rows of the records table."""
    counts = known_patients.patient_counts(images)
    said = []
    if counts["unknown"]:
        said.append(
            f"{known_patients.caveat(counts)} (a patient number comes from the sheet's column "
            "patient, a DICOM header or data.patient_pattern; ANONYMOUS and 0000 are none)"
        )
    names = [PurePosixPath(source).stem for source in images["source"]]
    fitting = sum(bool(_groups(name, pattern).get("patient")) for name in names)
    if pattern and fitting < len(names):
        said.append(f"data.patient_pattern tells a patient in {fitting} of {len(names)} file names")
    if counts["both_sexes"]:
        said.append(
            f"{counts['both_sexes']} patients have images of both sexes: several persons with one "
            "number, or a wrong sex"
        )
    if counts["several_origins"]:
        said.append(
            f"{counts['several_origins']} patients have images of several origins, and are taken "
            "as one person each: if two hospitals use the same numbers, put the hospital before "
            "the number in the sheet's column patient"
        )
    return said


def origin(stem: str, pattern: str) -> str:
    """Return the text of the group "origin", or the name of the first group that matched, or ""."""
    groups = _groups(stem, pattern)
    return groups.get("origin") or next((name for name, text in groups.items() if text), "")


def hashed(number: str, key: bytes, *, from_zero: bool = False) -> str:
    """Return the first 16 hexadecimal digits of the HMAC-SHA256 of the number's canonical form.

    A placeholder has none: ""; with `from_zero` a single 0 is a patient.
    """
    if patient_numbers.is_placeholder(number, from_zero=from_zero):
        return ""
    return _hmac(patient_numbers.canonical(number), key)


def _hmac(text: str, key: bytes) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:HASH_CHARACTERS]


def _groups(stem: str, pattern: str) -> dict[str, str]:
    match = re.search(pattern, stem) if pattern else None
    return match.groupdict(default="") if match else {}
