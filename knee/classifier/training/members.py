"""The members of an ensemble: one net for each fold and seed, with what each held out.

All members end at one epoch: the last one, or that of the lowest loss of all held-out images
together. So each image is predicted by nets that have seen neither it nor its group, and a single
number was chosen by these predictions. A killed run goes on after its last finished member.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import keras
import numpy as np
import pandas as pd
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from knee.classifier.features.feature_source import Source, Subset
from knee.classifier.net import assembly
from knee.classifier.training import inputs, training
from knee.classifier.training.checkpoints import Checkpoints, EveryEpoch, Progress
from knee.classifier.training.fold_training import Recipe
from knee.classifier.training.learner import Learner
from knee.evidence.evaluation.fold_results import FoldResult
from knee.evidence.uncertainty import calibration
from knee.run.errors import UserError
from knee.splits import cross_validation
from knee.splits.cross_validation import Fold
from knee.statistics import scores
from knee.storage import artifacts
from knee.storage.arrays import Floats, Integers

BATCH_IMAGES: Final = 32
Train = Callable[[Subset, Subset, int, EveryEpoch], Progress]  # rows, held out, seed, state
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Members:
    """Trained members, not yet calibrated.

    Attributes:
        net: raw pixels -> the mean of the members' log-probabilities, as probabilities.
        out_of_fold: (records, classes) probabilities of each record by the members of its fold.
        fold: (records,) the fold that held each out.
        history: a row an epoch, averaged over the members.
        epoch: from 0, at which all members end.
        channels: of the feature map of one member.
    """

    net: keras.Model
    out_of_fold: Floats
    fold: Integers
    history: pd.DataFrame
    epoch: int
    channels: int

    def results(self, folds: Sequence[Fold], temperature: float = 1.0) -> list[FoldResult]:
        """Return the calibrated predictions of what each of `folds` held out."""
        calibrated = calibration.scaled(self.out_of_fold, temperature)
        epochs = len(self.history)
        return [FoldResult(calibrated[fold.held_out], self.epoch, epochs) for fold in folds]


def train_members(
    recipe: Recipe,
    source: Source,
    kept: pd.DataFrame,
    folds: Sequence[Fold],
    folder: Path,
    key: str,
) -> Members:
    """Train one member for each of the `folds` of the records `kept`, and join them.

    Finished members lie in `folder`, in a part of it that is named by `key`, the settings and data.

    Raises:
        UserError: whole nets are to end at their best epoch, which would keep all of each.
    """
    plan = training.planned(recipe.backbone, recipe.head, recipe.train, recipe.classes)
    last_only = plan.optimisation.keep_epoch == "last"
    whole = source.pixels or plan.probes is not None
    if whole and not last_only:
        raise UserError(
            "train.keep_epoch: members whose backbone is trained keep their last epoch: give last, "
            "or train.members=1"
        )
    current = folder / f"members-{key}"
    for stale in folder.glob("members-*"):
        if stale != current:
            shutil.rmtree(stale, ignore_errors=True)
    states = [current / f"fold{fold.fold}_seed{fold.repeat}" for fold in folds]
    train = _whole_nets(plan, source, current) if whole else _heads(plan, source)
    with logging_redirect_tqdm():
        for number, fold in enumerate(tqdm(folds, recipe.name, unit="member", disable=None)):
            _finish(recipe, kept, fold, recipe.train["seed"] + number, states[number], train)
    history = _mean_history(states, [len(fold.held_out) for fold in folds])
    epoch = len(history) - 1 if last_only else int(history["val_loss"].to_numpy().argmin())
    weights = [EveryEpoch(state, last_only=last_only).weights(epoch) for state in states]
    parts, _ = training.build(plan)
    predicted, held_by = _out_of_fold(parts.trained, source, kept, folds, weights)
    truth = kept["class_index"].to_numpy(np.int64)
    of_folds = [
        [own for own, fold in zip(weights, folds, strict=True) if fold.fold == number]
        for number in np.unique(held_by)
    ]
    net = assembly.ensemble(parts, of_folds)
    channels = int(parts.trained.get_layer(assembly.FEATURE_MAP).output.shape[-1])
    return Members(net, scores.checked(truth, predicted), held_by, history, epoch, channels)


def _finish(
    recipe: Recipe, kept: pd.DataFrame, fold: Fold, seed: int, folder: Path, train: Train
) -> None:
    """Train the member in `folder`, unless it is there, complete."""
    done = folder / "history.json"
    if done.is_file():
        return
    shutil.rmtree(folder, ignore_errors=True)
    started = time.perf_counter()
    rows = Subset.of(
        cross_validation.training_rows(kept, fold, recipe.oversampling, recipe.oversampling_seed)
    )
    state = EveryEpoch(folder, last_only=recipe.train["keep_epoch"] == "last")
    progress = train(rows, Subset.of(kept.iloc[fold.held_out]), seed, state)
    artifacts.write_json(done, {"epochs": progress.history})
    text = "fold %d seed %d  %d held out  val_loss %.4f  val_accuracy %.3f  %.1f s"
    last = [progress.history[-1][name] for name in ("val_loss", "val_accuracy")]
    seconds = time.perf_counter() - started
    log.info(text, fold.fold + 1, fold.repeat + 1, len(fold.held_out), *last, seconds)


def _heads(plan: training.Plan, source: Source) -> Train:
    """The training of heads, and of layers above a frozen part, that are built once."""
    learner: list[Learner] = []

    def train(rows: Subset, held_out: Subset, seed: int, state: EveryEpoch) -> Progress:
        if not learner:  # every member may be there already
            learner.append(Learner(plan, source))
        return learner[0].fit(rows, held_out, seed, state)

    return train


def _whole_nets(plan: training.Plan, source: Source, folder: Path) -> Train:
    """The training of nets that take long: a killed one goes on after its last epoch."""

    def train(rows: Subset, held_out: Subset, seed: int, state: EveryEpoch) -> Progress:
        keras.backend.clear_session()
        own = dataclasses.replace(plan.optimisation, seed=seed)
        checkpoints = Checkpoints(folder / "unfinished", str(seed))
        model, progress = training.train(
            dataclasses.replace(plan, optimisation=own), source, rows, held_out, checkpoints
        )
        state.save(model.layers[-1], progress)
        checkpoints.clear()
        return progress

    return train


def _mean_history(states: Sequence[Path], counts: Sequence[int]) -> pd.DataFrame:
    """Mean losses of each epoch, members with more held-out images weighing more."""
    read = [artifacts.read_json(state / "history.json")["epochs"] for state in states]
    tables = [pd.DataFrame(rows) for rows in read]
    values = np.stack([table.to_numpy(np.float64) for table in tables])
    means = pd.DataFrame(np.average(values, axis=0, weights=counts), columns=tables[0].columns)
    return means.astype({"epoch": np.int64})


def _out_of_fold(
    trained: keras.Model,
    source: Source,
    kept: pd.DataFrame,
    folds: Sequence[Fold],
    weights: Sequence[assembly.Weights],
) -> tuple[Floats, Integers]:
    """Probabilities (records, classes) by the members that held each out, and their fold."""
    rows = kept["pixel_row"].to_numpy(np.int64)
    seeds = 1 + max(fold.repeat for fold in folds)
    predicted = np.empty((seeds, len(kept), int(trained.output.shape[-1])))
    held_by = np.empty(len(kept), np.int64)
    for fold, own in zip(folds, weights, strict=True):
        trained.set_weights(own)
        batches = inputs.padded_batches(source, rows[fold.held_out], BATCH_IMAGES)
        made = trained.predict(batches, verbose=0)[: len(fold.held_out)]
        predicted[fold.repeat, fold.held_out] = made
        held_by[fold.held_out] = fold.fold
    return calibration.averaged(predicted), held_by
