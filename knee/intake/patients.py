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
from typing import Final

from knee.intake import patient_numbers

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
