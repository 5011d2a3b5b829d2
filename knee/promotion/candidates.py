"""The trained models as registration sees them: their records and their predictions."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from itertools import product
from pathlib import Path
from typing import cast

import pandas as pd

from knee.evidence.evaluation.json_contents import EvaluationReport, TrainingRecord
from knee.evidence.evaluation.predictions import read_predictions
from knee.splits.kept_split import read_subsets_table
from knee.storage.artifacts import ArtifactError, read_bytes, read_json, read_json_if_present

DEVELOPMENT = "development"  # subset of out-of-fold predictions, of all folds or of one
UNSEEN = {DEVELOPMENT: "out of fold", "val": "on validation"}  # what models are chosen by
SUBSETS_FILE = "subsets.csv"  # of split
SHARED_FACTS = ("classes", "data_fingerprint", "split_fingerprint", "split_protocol", "synthetic")


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One model: its records, and its predictions of images that it has not seen."""

    backbone: str
    training: TrainingRecord
    test: EvaluationReport
    cross_validation: EvaluationReport | None
    predictions: pd.DataFrame
    subsets: pd.DataFrame | None  # the subsets table of its split

    @property
    def is_ensemble(self) -> bool:
        """Whether its members' out-of-fold predictions are there."""
        return DEVELOPMENT in set(self.predictions["subset"])

    @property
    def chosen_by(self) -> str:
        """The subset of `predictions` that models are chosen by."""
        return DEVELOPMENT if self.is_ensemble else "val"

    @property
    def judged(self) -> EvaluationReport:
        """The report on the most images: out of fold, or of one net the test subset."""
        return (self.cross_validation if self.is_ensemble else None) or self.test


def read_candidate(backbone: str, models: Path, metrics: Path) -> Candidate:
    """Read training.json of `models`, reports and predictions of `metrics`, subsets.csv beside it.

    Raises:
        ArtifactError: a file is missing or damaged, or is another backbone's.
        SplitError: subsets.csv is damaged.
    """
    training = read_json(models / "training.json")
    if training.get("backbone") != backbone:
        raise ArtifactError(
            f"{models / 'training.json'} is of {training.get('backbone')}, not {backbone}: "
            "run `dvc repro`"
        )
    subsets = metrics.parent / SUBSETS_FILE
    return Candidate(
        backbone,
        cast(TrainingRecord, training),
        cast(EvaluationReport, read_json(metrics / "test.json")),
        cast(EvaluationReport | None, read_json_if_present(metrics / "cross_validation.json")),
        read_predictions(read_bytes(metrics / "predictions.csv")),
        read_subsets_table(subsets.read_bytes(), str(subsets)) if subsets.is_file() else None,
    )


def unseen(candidates: Collection[Candidate]) -> dict[str, pd.DataFrame]:
    """Return each model's predictions of the images that it is chosen by, which none has seen.

    Beside a distilled net these are those of the fold that it held back.
    """
    own = {
        one.backbone: one.predictions[one.predictions["subset"] == one.chosen_by]
        for one in candidates
    }
    common = set.intersection(*(set(table["record"]) for table in own.values()))
    return {name: table[table["record"].isin(common)] for name, table in own.items()}


def check_shared(candidates: list[Candidate]) -> None:
    """Refuse to compare backbones that saw different data or splits.

    Raises:
        ArtifactError: two candidates differ in one of `SHARED_FACTS`, or one lacks it.
    """
    first = candidates[0]
    for candidate, fact in product(candidates, SHARED_FACTS):
        found = candidate.training.get(fact)
        if found is None or found != first.training.get(fact):
            raise ArtifactError(
                f"training.json of {candidate.backbone} and of {first.backbone} do not agree on "
                f"{fact}: run `dvc repro` for both"
            )
