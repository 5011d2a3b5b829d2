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

from knee.records import file_names
from knee.records.file_names import PatternError

KEY_VARIABLE: Final = "KNEE_PATIENT_KEY"
PUBLIC_KEY: Final = "knee-bone-health: public key, not a secret"
HASH_CHARACTERS: Final = 16  # 64 bits: a million patients collide with probability 3e-8
SIDES: Final = {"l": "left", "left": "left", "r": "right", "right": "right"}


def compile_pattern(pattern: str) -> re.Pattern[str] | None:
    """Return the expression of patient and side, None for ""; `PatternError` if it is none."""
    if not pattern:
        return None
    compiled = file_names.compile_pattern(pattern, "data.patient_pattern")
    if "patient" not in compiled.groupindex:
        raise PatternError(f"data.patient_pattern {pattern!r} has no group (?P<patient>...)")
    return compiled


def compile_origin_pattern(pattern: str) -> re.Pattern[str] | None:
    """Return the expression of the origin, None for ""; `PatternError` if it is none."""
    if not pattern:
        return None
    compiled = file_names.compile_pattern(pattern, "data.origin_pattern")
    if not compiled.groupindex:
        raise PatternError(
            f"data.origin_pattern {pattern!r} has no named group: (?P<origin>...) for the origin "
            "itself, or a group named like the origin"
        )
    return compiled


def key_from_environment() -> bytes:
    """Return the key of the hashes: KNEE_PATIENT_KEY, or the public one."""
    return (os.environ.get(KEY_VARIABLE) or PUBLIC_KEY).encode()


def patient_and_side(stem: str, pattern: re.Pattern[str] | None, key: bytes) -> tuple[str, str]:
    """Return the keyed hash of the patient and left or right, each "" if unknown."""
    groups = _groups(stem, pattern)
    side = SIDES.get(groups.get("side", "").lower(), "")
    return hashed(groups.get("patient", ""), key), side


def origin(stem: str, pattern: re.Pattern[str] | None) -> str:
    """Return the text of the group "origin", or the name of the first group that matched, or ""."""
    groups = _groups(stem, pattern)
    return groups.get("origin") or next((name for name, text in groups.items() if text), "")


def hashed(patient: str, key: bytes) -> str:
    """Return the first 16 hexadecimal digits of the patient number's HMAC-SHA256; "" for ""."""
    if not patient:
        return ""
    return hmac.new(key, patient.encode(), hashlib.sha256).hexdigest()[:HASH_CHARACTERS]


def _groups(stem: str, pattern: re.Pattern[str] | None) -> dict[str, str]:
    match = pattern.search(stem) if pattern else None
    return match.groupdict(default="") if match else {}
