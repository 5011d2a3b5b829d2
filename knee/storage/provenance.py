"""Provenance of results: fingerprints of files, and a key of all that decides a training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from knee.storage.arrays import Pixels

SEAL: Final = "record_sha256"  # key of a record's digest of itself


def fingerprint(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def image_digest(pixels: Pixels) -> str:
    """16 hexadecimal digits of the SHA-256 of an image's canonical pixels, uint8 (side, side)."""
    return hashlib.sha256(pixels.tobytes()).hexdigest()[:16]


def key(facts: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that change with any value of `facts`, nested or not."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sealed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return `facts`, JSON values, with a digest of all of them under `SEAL`."""
    return {**facts, SEAL: _seal(facts)}


def seal_is_broken(facts: Mapping[str, Any]) -> bool:
    """Whether a value of `facts` is another than when they were sealed; False without a seal."""
    return SEAL in facts and facts[SEAL] != _seal(facts)


def _seal(facts: Mapping[str, Any]) -> str:
    values = json.loads(json.dumps({name: facts[name] for name in facts if name != SEAL}))
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train": {"epochs": 3}} -> {"train.epochs": 3}."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
