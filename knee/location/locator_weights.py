"""The weights of the search for knees, known by their SHA-256.

The project has its own, and the recipe that made them; a model of located knees has a copy of those
that located them, so it finds the same knees whatever the project's become.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Final

import numpy as np

from knee.run.errors import UserError
from knee.storage import artifacts
from knee.storage.arrays import Images

FILE: Final = "knees.npz"  # here, and beside model.keras
PATH: Final = Path(__file__).with_name(FILE)
REMEDY: Final = "check it out anew"


class WeightsError(UserError):
    """Weights that are missing or not the recorded ones."""


def recorded_sha256() -> str:
    """Return the SHA-256 of the project's weights, by their recipe."""
    return str(artifacts.read_json(PATH.with_suffix(".json"), ("sha256",))["sha256"])


def read(path: Path, sha256: str, remedy: str = REMEDY) -> dict[str, Images]:
    """Return the arrays of the .npz at `path` as float32.

    `WeightsError`, with the `remedy`, where it cannot be read or has another SHA-256.
    """
    with np.load(io.BytesIO(_content(path, sha256, remedy)), allow_pickle=False) as arrays:
        return {name: arrays[name].astype(np.float32) for name in arrays.files}


def copy_to(folder: Path, sha256: str) -> None:
    """Write the project's weights, which must have this SHA-256, into `folder` as `FILE`."""
    artifacts.write_bytes(folder / FILE, _content(PATH, sha256, REMEDY))


def _content(path: Path, sha256: str, remedy: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {remedy}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise WeightsError(f"{path} is not the file of the recorded SHA-256: {remedy}")
    return content
