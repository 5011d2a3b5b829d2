"""The members of an ensemble: one net for each fold and seed, with what each held out.

All members end at one epoch: the last one, or that of the lowest loss of all held-out images
together. So each image is predicted by nets that have seen neither it nor its group, and a single
number was chosen by these predictions. A killed run goes on after its last finished member.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import keras
import numpy as np
import pandas as pd
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from knee.classifier.features.feature_source import Source, Subset
from knee.classifier.net import assembly, devices
from knee.classifier.training import inputs, training
from knee.classifier.training.checkpoints import Checkpoints, EveryEpoch, Progress
from knee.classifier.training.fold_training import Asked, Recipe, Work, learner_of
from knee.evidence.evaluation.fold_results import FoldResult
from knee.evidence.uncertainty import calibration
from knee.execution.local import Inline
from knee.execution.ordered import ordered
from knee.execution.place import Place
from knee.run.errors import UserError
from knee.splits import cross_validation
from knee.splits.cross_validation import Fold
from knee.statistics import scores
from knee.storage import artifacts
from knee.storage.arrays import Floats, Integers

BATCH_IMAGES: Final = 32
HISTORY: Final = "history.json"  # of a member: there once it is trained
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
    place_of: Callable[[], Place] = Inline,
) -> Members:
    """Train one member for each of the `folds` of the records `kept`, and join them.

    Finished members lie in `folder`, in a part of it that is named by `key`, the settings and data.

    Raises:
        UserError: whole nets are to end at their best epoch, which would keep all of each.
    """
    # What members predict here is the same bits wherever they are trained.
    devices.use_one_core()
    plan = training.planned(recipe.backbone, recipe.head, recipe.train, recipe.classes)
    last_only = plan.optimisation.keep_epoch == "last"
    if is_whole(plan, source) and not last_only:
        raise UserError(
            "train.keep_epoch: members whose backbone is trained keep their last epoch: give last, "
            "or train.members=1"
        )
    current = folder / f"members-{key}"
    for stale in folder.glob("members-*"):
        if stale != current:
            shutil.rmtree(stale, ignore_errors=True)
    states = [_state(current, fold) for fold in folds]
    numbered = zip(folds, states, strict=True)
    asked = [
        Asked(fold, recipe.train["seed"] + number)
        for number, (fold, state) in enumerate(numbered)
        if not (state / HISTORY).is_file()
    ]
    with logging_redirect_tqdm():
        bar = tqdm(total=len(folds), desc=recipe.name, unit="member", disable=None)
        bar.update(len(folds) - len(asked))
        with bar:
            for _ in _trained(recipe, source, kept, asked, current, place_of) if asked else ():
                bar.update()
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


def is_whole(plan: training.Plan, source: Source) -> bool:
    """Whether all of a net is trained; else a head, and layers above a frozen part."""
    return source.pixels or plan.probes is not None


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained member: a row an epoch, and its files where they are not in place yet."""

    history: list[dict[str, float]]
    seconds: float
    files: dict[str, bytes]  # by name


def _trained(
    recipe: Recipe,
    source: Source,
    kept: pd.DataFrame,
    asked: Sequence[Asked],
    folder: Path,
    place_of: Callable[[], Place],
) -> Iterator[Sequence[Trained]]:
    """Train the members; each is put in its part of `folder` as soon as it comes."""

    def keep(some: Sequence[Asked], made: Sequence[Trained]) -> None:
        for one, trained in zip(some, made, strict=True):
            _keep(_state(folder, one.fold), trained)
            text = "fold %d seed %d  %d held out  val_loss %.4f  val_accuracy %.3f  %.1f s"
            last = [trained.history[-1][name] for name in ("val_loss", "val_accuracy")]
            where = one.fold.fold + 1, one.fold.repeat + 1, len(one.fold.held_out)
            log.info(text, *where, *last, trained.seconds)

    place = place_of()
    work = place.share(Work.at(place, recipe, source, kept))
    shared = work, folder.absolute() if place.has_files else None
    chunks = ([one] for one in asked)
    try:
        yield from ordered(place, train_some, shared, chunks, name=str, arrived=keep)
    finally:
        learner_of.cache_clear()


def train_some(work: Work, folder: Path | None, asked: Sequence[Asked]) -> list[Trained]:
    """Train some members, in their parts of `folder` if there is one; a task of a place of work."""
    return [_train_one(work, folder, one) for one in asked]


def _train_one(work: Work, folder: Path | None, asked: Asked) -> Trained:
    started, recipe, fold = time.perf_counter(), work.recipe, asked.fold
    rows = cross_validation.training_rows(
        work.kept, fold, recipe.oversampling, recipe.oversampling_seed
    )
    with tempfile.TemporaryDirectory() as own:
        place = _state(folder or Path(own), fold)
        shutil.rmtree(place, ignore_errors=True)
        state = EveryEpoch(place, last_only=recipe.train["keep_epoch"] == "last")
        plan = training.planned(recipe.backbone, recipe.head, recipe.train, recipe.classes)
        data = Subset.of(rows), Subset.of(work.kept.iloc[fold.held_out])
        if is_whole(plan, work.source):
            progress = _whole_net(plan, work.source, *data, asked.seed, place.parent, state)
        else:
            progress = learner_of(work).fit(*data, asked.seed, state)
        files = {} if folder else {file.name: file.read_bytes() for file in place.iterdir()}
        return Trained(progress.history, time.perf_counter() - started, files)


def _whole_net(
    plan: training.Plan,
    source: Source,
    rows: Subset,
    held_out: Subset,
    seed: int,
    folder: Path,
    state: EveryEpoch,
) -> Progress:
    """The training of a net that takes long: a killed one goes on after its last epoch."""
    keras.backend.clear_session()
    devices.use_one_core()
    own = dataclasses.replace(plan.optimisation, seed=seed)
    checkpoints = Checkpoints(folder / f"unfinished_{seed}", str(seed))
    model, progress = training.train(
        dataclasses.replace(plan, optimisation=own), source, rows, held_out, checkpoints
    )
    state.save(model.layers[-1], progress)
    checkpoints.clear()
    return progress


def _state(folder: Path, fold: Fold) -> Path:
    """Where the member of a fold is kept."""
    return folder / f"fold{fold.fold}_seed{fold.repeat}"


def _keep(folder: Path, made: Trained) -> None:
    """Put the files of a member in their place; its history, which says that it is whole, last."""
    if made.files:
        shutil.rmtree(folder, ignore_errors=True)
    for name, content in made.files.items():
        artifacts.write_bytes(folder / name, content)
    artifacts.write_json(folder / HISTORY, {"epochs": made.history})


def _mean_history(states: Sequence[Path], counts: Sequence[int]) -> pd.DataFrame:
    """Mean losses of each epoch, members with more held-out images weighing more."""
    read = [artifacts.read_json(state / HISTORY)["epochs"] for state in states]
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
