"""One net: some images teach it, others choose its epoch, and its limits are learned from these."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import keras
import numpy as np
import pandas as pd

from knee.classifier.features.feature_source import Source, Subset
from knee.classifier.net import devices
from knee.classifier.training import fit, observe, synchronous_training, training
from knee.classifier.training.checkpoints import Checkpoints
from knee.classifier.training.finished_training import FinishedTraining
from knee.classifier.training.fold_training import Recipe
from knee.evidence.evaluation import out_of_fold
from knee.evidence.uncertainty import prediction_limits
from knee.execution.worker_group import WorkerGroup
from knee.run import parameters


def validation_records(records: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """Return the records of the val subset, with the split's groups."""
    drawn = split.loc[split["subset"] == "val", ["record", "group"]]
    return records.drop(columns="group").merge(drawn, on="record")


def train(
    recipe: Recipe,
    classes: Sequence[str],
    source: Source,
    rows: Subset,
    held: pd.DataFrame,
    caution: parameters.Caution,
    checkpoints: Checkpoints,
    on_epoch: fit.EpochReport,
    group: WorkerGroup | None = None,
) -> FinishedTraining:
    """Train on `rows`, which may repeat; `held` are the records that the net does not learn.

    A `group` of workers trains in the place of this process.
    """
    plan = training.planned(recipe.backbone, recipe.head, recipe.train, recipe.classes)
    fitting = None
    if group:
        devices.share_gpus()
        plan = dataclasses.replace(plan, devices=1)
        fitting = functools.partial(synchronous_training.train, group)
    model, progress = training.train(
        plan, source, rows, Subset.of(held), checkpoints, on_epoch, fitting
    )
    none = out_of_fold.table(held, [], [], classes)
    history = pd.DataFrame(progress.history)
    learned = _learn(caution, model, source, rows, held)
    return FinishedTraining(model, learned, progress.best_epoch, history, none)


def _learn(
    chosen: parameters.Caution,
    model: keras.Model,
    source: Source,
    rows: Subset,
    held: pd.DataFrame,
) -> prediction_limits.Learned:
    """What the model knows about its limits."""
    count, once = len(held), observe.subsample_rows(rows.rows)
    both = np.concatenate([held["pixel_row"].to_numpy(), once])
    seen = observe.observe(model, source, both)  # one call: to trace a whole net takes seconds
    return prediction_limits.learn(
        prediction_limits.Observed(seen.probabilities[:count], seen.features[:count]),
        held["class_index"].to_numpy(),
        held["group"].to_numpy(),
        seen.features[count:],
        method=chosen.calibration,
        level=chosen.set_level,
        quantile=chosen.familiar_quantile,
    )
