"""One net that learns from an ensemble: its answers in the place of labels.

Hinton, Vinyals and Dean 2015, https://arxiv.org/abs/1503.02531. A net that imitates others knows
what they know: taught by members that have learned an image's label, its answer about that image
is too good, though it never saw the image itself (docs/log.md, 2026-11-29). So one fold is held
back, and only the members that have not seen it teach: it chooses the epoch, and the net's limits
are learned from it.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import pandas as pd

from knee.classifier.features.feature_source import Source, Subset
from knee.classifier.net import devices
from knee.classifier.net.trained_model import TrainedModel
from knee.classifier.training import fit, observe, one_net
from knee.classifier.training.checkpoints import Checkpoints
from knee.classifier.training.finished_training import FinishedTraining
from knee.classifier.training.fold_training import Recipe
from knee.evidence.evaluation import predictions
from knee.evidence.uncertainty import calibration
from knee.run import parameters
from knee.splits import cross_validation
from knee.splits.cross_validation import Fold
from knee.storage.artifacts import ArtifactError

HELD_BACK: Final = 0  # the fold
LABEL_SMOOTHING: Final = 0.0  # the labels are soft


def distil(
    recipe: Recipe,
    teacher: TrainedModel,
    members: pd.DataFrame,
    source: Source,
    caution: parameters.Caution,
    checkpoints: Checkpoints,
    on_epoch: fit.EpochReport,
) -> FinishedTraining:
    """Train one net by `recipe` on the answers of `teacher`.

    `members` are the teacher's out-of-fold predictions, with each image's row of `source` as
    pixel_row. The net's own predictions of the held-back fold are its out-of-fold predictions.

    Raises:
        ArtifactError: the teacher is no ensemble, or `members` is empty.
    """
    if members.empty or not teacher.limits.folds:
        raise ArtifactError(f"{teacher.folder} is no ensemble: run `dvc repro` to train it")
    devices.make_deterministic(recipe.train["seed"])
    rows, held = taught(recipe, teacher, members, source)
    soft = dataclasses.replace(recipe, train={**recipe.train, "label_smoothing": LABEL_SMOOTHING})
    found = one_net.train(soft, teacher.classes, source, rows, held, caution, checkpoints, on_epoch)
    made = observe.observe(found.model, source, held["pixel_row"].to_numpy()).probabilities
    calibrated = calibration.scaled(made, found.learned.temperature)
    described = held.drop(columns="pixel_row")
    predicted = predictions.with_probabilities(described, calibrated, teacher.classes)
    return dataclasses.replace(found, out_of_fold=predicted)


def taught(
    recipe: Recipe, teacher: TrainedModel, members: pd.DataFrame, source: Source
) -> tuple[Subset, pd.DataFrame]:
    """Return the training rows with their soft labels, and the images that are held back."""
    held = (members["fold"] == HELD_BACK).to_numpy()
    inside = np.flatnonzero(~held)
    fold = Fold(0, HELD_BACK, inside, np.flatnonzero(held), np.flatnonzero(held))
    rows = cross_validation.training_rows(
        members, fold, recipe.oversampling, recipe.oversampling_seed
    )
    known = members.iloc[inside]
    observed = observe.observe(
        teacher.load(), source, known["pixel_row"].to_numpy(), teacher.limits.folds
    )
    places = pd.Index(known["record"]).get_indexer(rows["record"])
    soft_labels = np.asarray(observed.folds, np.float32)[places, HELD_BACK]
    return dataclasses.replace(Subset.of(rows), soft_labels=soft_labels), members[held]
