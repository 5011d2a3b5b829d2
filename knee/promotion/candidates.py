"""The trained backbones as registration sees them: their records and their predictions."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd

SHARED_FACTS = ("classes", "data_fingerprint", "split_fingerprint", "split_protocol", "synthetic")


class CandidateError(ValueError):
    """A backbone's files are missing, damaged, or do not belong together."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One backbone.

    Attributes:
        backbone: its name.
        training: content of training.json.
        test: content of test.json.
        predictions: rows of the val and test subsets, see `read_predictions`.
    """

    backbone: str
    training: dict[str, Any]
    test: dict[str, Any]
    predictions: pd.DataFrame


def read_candidate(backbone: str, models: Path, metrics: Path) -> Candidate:
    """Read `models/training.json`, `metrics/test.json` and `metrics/predictions.csv`.

    Raises:
        CandidateError: a file is missing or damaged, or is another backbone's.
    """
    training = _read_json(models / "training.json")
    if training.get("backbone") != backbone:
        raise CandidateError(
            f"{models / 'training.json'} is of {training.get('backbone')}, not {backbone}: "
            "run `dvc repro`"
        )
    path = metrics / "predictions.csv"
    return Candidate(
        backbone, training, _read_json(metrics / "test.json"), read_predictions(_bytes(path))
    )


def read_predictions(content: bytes) -> pd.DataFrame:
    """predictions.csv with names and hashes as text, whatever they look like.

    Raises:
        CandidateError: the content is no table.
    """
    text = {"label": str, "predicted": str, "pixel_sha256": str, "subset": str}
    try:
        return pd.read_csv(io.BytesIO(content), dtype=text, keep_default_na=False)
    except ValueError as error:
        raise CandidateError(f"predictions.csv is no table ({error}): run `dvc repro`") from error


def read_baselines(metrics: Path) -> dict[str, dict[str, Any]]:
    """Test figures of what is not bone, by name, from `metrics/shortcuts.json`; {} without one.

    Raises:
        CandidateError: the file is damaged.
    """
    path = metrics / "shortcuts.json"
    if not path.exists():
        return {}
    try:
        return {name: dict(one["test"]) for name, one in _read_json(path)["shortcuts"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CandidateError(f"{path} has no shortcuts ({error!r}): run `dvc repro`") from error


def read_facts(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None where there is no file.

    Raises:
        CandidateError: the file is damaged.
    """
    return _read_json(path) if path.exists() else None


def check_shared(candidates: list[Candidate]) -> None:
    """Refuse to compare backbones that saw different data or splits.

    Raises:
        CandidateError: two candidates differ in one of `SHARED_FACTS`, or one lacks it.
    """
    for candidate in candidates:
        for fact in SHARED_FACTS:
            found = candidate.training.get(fact)
            if found is None or found != candidates[0].training.get(fact):
                raise CandidateError(
                    f"training.json of {candidate.backbone} and of {candidates[0].backbone} "
                    f"do not agree on {fact}: run `dvc repro` for both"
                )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_bytes(path))
    except ValueError as error:
        raise CandidateError(f"{path} is not JSON ({error}): run `dvc repro`") from error
    if not isinstance(value, dict):
        raise CandidateError(f"{path}: expected a JSON object; run `dvc repro`")
    return value


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CandidateError(f"{path} cannot be read: run `dvc repro`") from error
