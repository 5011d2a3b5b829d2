"""Patient, side and origin by a file's name; the patient is kept as a keyed hash only.

Pseudonymous, not anonymous: who has the key and a list of patient numbers can find each again.
Set KNEE_PATIENT_KEY to a secret of your own; without it the key is the public one below, which
makes results repeatable everywhere and protects nothing. The records table names every source
file, too: where file names identify patients, so does the table.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from knee.intake import patient_numbers
from knee.run.errors import UserError
from knee.storage import artifacts

KEY_VARIABLE: Final = "KNEE_PATIENT_KEY"
PUBLIC_KEY: Final = "knee-bone-health: public key, not a secret"
HASH_CHARACTERS: Final = 16  # 64 bits: a million patients collide with probability 3e-8


class KeyCheckError(UserError):
    """The key is not the one that the pipeline's records are made with."""


def key_from_environment() -> bytes:
    """Return the key of the hashes: KNEE_PATIENT_KEY, or the public one."""
    return (os.environ.get(KEY_VARIABLE) or PUBLIC_KEY).encode()


def key_check(key: bytes) -> str:
    """Return a text that tells one key from another, and neither the key nor any patient."""
    return _hmac("check value of KNEE_PATIENT_KEY", key)


def check_key(file: Path, key: bytes) -> None:
    """Raise `KeyCheckError` unless `file` has the check value of `key`."""
    if artifacts.read_json(file, ("patient_key",))["patient_key"] != key_check(key):
        raise KeyCheckError(
            f"{file} is of another {KEY_VARIABLE}: run dvc repro without --single-item, or set "
            "the key that it is of"
        )


def patient_and_side(stem: str, pattern: str, key: bytes) -> tuple[str, str]:
    """Return the keyed hash of the patient and left or right, each "" if unknown."""
    found = groups(stem, pattern)
    side = patient_numbers.side(found.get("side", ""))
    number = found.get("patient", "")
    counted = number.lstrip("0") or number[:1]  # files are counted from 000
    return hashed(counted, key, from_zero=True), side


class Told(NamedTuple):
    """The hashes of a file's patient by who tells it, the most trusted first; "" for unknown."""

    sheet: str
    header: str
    file_name: str


def resolved(told: Sequence[Told]) -> list[str]:
    """Return each file's patient, by the most trusted source that tells one.

    Where a more trusted source tells this patient of another file, the patient has that name: a
    file without a row in the sheet is of the person whom its header names in other files, too.
    """
    names: dict[tuple[int, str], str] = {}
    known = [next((place for place, name in enumerate(row) if name), -1) for row in told]
    found = [""] * len(told)
    for index in sorted(range(len(told)), key=known.__getitem__):
        row, place = told[index], known[index]
        if place >= 0:
            found[index] = names.setdefault((place, row[place]), row[place])
        for other, name in enumerate(row):
            if name:
                names.setdefault((other, name), found[index])
    return found


def origin(stem: str, pattern: str) -> str:
    """Return the text of the group "origin", or the name of the first group that matched, or ""."""
    found = groups(stem, pattern)
    return found.get("origin") or next((name for name, text in found.items() if text), "")


def hashed(number: str, key: bytes, *, from_zero: bool = False) -> str:
    """Return the first 16 hexadecimal digits of the HMAC-SHA256 of the number's canonical form.

    A placeholder has none: ""; with `from_zero` a single 0 is a patient.
    """
    if patient_numbers.is_placeholder(number, from_zero=from_zero):
        return ""
    return _hmac(patient_numbers.canonical(number), key)


def _hmac(text: str, key: bytes) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:HASH_CHARACTERS]


def groups(stem: str, pattern: str) -> dict[str, str]:
    """Return what the named groups of `pattern` find in a stem; empty without a match."""
    match = re.search(pattern, stem) if pattern else None
    return match.groupdict(default="") if match else {}
