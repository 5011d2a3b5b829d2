"""JSON files of the pipeline: one reader, which names the file that is missing or damaged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from knee.storage.artifacts import ArtifactError, read_bytes


def read_json(path: Path, keys: Sequence[str] = ()) -> dict[str, Any]:
    """Return the JSON object in the file `path`, which has at least these `keys`.

    Raises:
        ArtifactError: it is missing, damaged, no object, or lacks a key.
    """
    try:
        value = json.loads(read_bytes(path))
    except ValueError as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(
            f"{path} is not JSON ({error}): delete it and run `dvc repro`"
        ) from error
    if not isinstance(value, dict):
        raise ArtifactError(f"{path}: expected a JSON object; run `dvc repro`")
    missing = [name for name in keys if name not in value]
    if missing:
        raise ArtifactError(f"{path} has no key {missing[0]}: run `dvc repro` to make it again")
    return value


def read_json_if_present(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in the file `path`, None where there is no such file."""
    return read_json(path) if path.exists() else None
