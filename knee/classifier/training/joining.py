"""The nets of several backbones as one model: nothing is trained, all of it is there already.

The ensembles of the backbones have the same folds, so the mean of their out-of-fold predictions of
an image is by nets that have not seen it: the joint model is calibrated, judged and chosen by these
means as each ensemble is by its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from knee.classifier.features.feature_source import Source
from knee.classifier.net import assembly
from knee.classifier.net.trained_model import TrainedModel
from knee.classifier.training import observe
from knee.classifier.training.finished_training import FinishedTraining
from knee.evidence.evaluation import predictions
from knee.evidence.uncertainty import calibration, prediction_limits
from knee.run import parameters
from knee.storage.arrays import Features, Floats
from knee.storage.artifacts import ArtifactError

SAME_ROWS: Final = ["record", "fold", "class_index"]  # of the parts' out-of-fold predictions


@dataclass(frozen=True)
class Part:
    """The ensemble of one backbone."""

    trained: TrainedModel
    out_of_fold: pd.DataFrame  # calibrated predictions of each image by the members of its fold
    history: pd.DataFrame
    source: Source  # what it learned from


def join(
    name: str, parts: Sequence[Part], records: pd.DataFrame, caution: parameters.Caution
) -> FinishedTraining:
    """Return the mean of the log-probabilities of `parts` as one model.

    Its history is the mean of theirs, its best epoch the last of theirs. `records` is the records
    table.

    Raises:
        ArtifactError: the parts are no ensembles of the same folds.
    """
    classes, first = parts[0].trained.classes, parts[0].out_of_fold
    mean = _out_of_fold(parts, classes)
    truth, groups, fold = (
        first[column].to_numpy(np.int64) for column in ("class_index", "group", "fold")
    )
    rows = records.set_index("record").loc[first["record"], "pixel_row"].to_numpy(np.int64)
    models = [part.trained.load() for part in parts]
    features = [
        observe.features(model, part.source, rows)
        for model, part in zip(models, parts, strict=True)
    ]
    learned = prediction_limits.learn_from_folds(
        mean,
        truth,
        groups,
        fold,
        np.concatenate(features, axis=1),
        _channels(parts, features),
        method=caution.calibration,
        level=caution.set_level,
        quantile=caution.familiar_quantile,
    )
    calibrated = calibration.scaled(mean, learned.temperature)
    history = pd.concat([part.history for part in parts]).groupby("epoch", as_index=False).mean()
    return FinishedTraining(
        assembly.joined(name, models),
        learned,
        max(part.trained.training["best_epoch"] for part in parts),
        history,
        predictions.with_probabilities(first, calibrated, classes),
    )


def _out_of_fold(parts: Sequence[Part], classes: Sequence[str]) -> Floats:
    """(records, classes) by the members of all parts that have not seen the record."""
    first = parts[0].out_of_fold
    for part in parts:
        predictions.check_columns(part.out_of_fold, SAME_ROWS)
        if first.empty or not part.out_of_fold[SAME_ROWS].equals(first[SAME_ROWS]):
            raise ArtifactError(
                f"members.csv of {part.trained.training['backbone']} is empty, or of other records "
                f"or folds than that of {parts[0].trained.training['backbone']}: run `dvc repro` "
                "for both"
            )
    return calibration.averaged(
        np.stack([predictions.probabilities_of(part.out_of_fold, classes) for part in parts])
    )


def _channels(parts: Sequence[Part], features: Sequence[Features]) -> int:
    """Of the feature map that all members share, or of the first member's where each has one."""
    known = parts[0].trained.limits.novelty
    if known is not None and len(known.centre) < features[0].shape[1]:
        return len(known.centre)
    return sum(values.shape[1] for values in features)
