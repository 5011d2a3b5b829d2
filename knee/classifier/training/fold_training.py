"""Train and predict the folds of a cross-validation, at whatever place of work there is."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pandas as pd
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from knee.classifier.features import engines
from knee.classifier.features.feature_source import Source, Subset
from knee.classifier.net.design import BackboneDesign, read_design
from knee.evidence.evaluation.fold_results import FoldResult, FoldResults
from knee.execution import processes
from knee.execution.local import Inline
from knee.execution.opening import Opened
from knee.execution.ordered import ordered
from knee.execution.place import ExecutionError, Place
from knee.run import parameters
from knee.splits import cross_validation
from knee.splits.cross_validation import Fold
from knee.statistics import scores

if TYPE_CHECKING:  # TensorFlow is not imported where every fold is found
    from knee.classifier.training.learner import Learner

TRIAL_ROWS: Final = 16
MOST_SENT_BYTES: Final = 8 * 10**9
PROCESS_BYTES: Final = 4e9  # of memory: TensorFlow, a whole MobileNet and a batch
SHOWN: Final = ("accuracy", "macro_f1")  # of each fold in the log
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """What every fold trains; `head` and `train` are the parameters' sections, as plain values."""

    name: str
    backbone: BackboneDesign
    head: Mapping[str, Any]
    train: Mapping[str, Any]
    oversampling: Literal["random", "none"]
    oversampling_seed: int
    classes: int

    @classmethod
    def of(
        cls,
        settings: parameters.Params,
        name: str,
        features: Path,
        classes: int,
        head: parameters.Head | None = None,
    ) -> Recipe:
        """Return what `settings` ask for on `features`, with another `head` where one is given."""
        return cls(
            name,
            read_design(features),
            dataclasses.asdict(head or settings.head),
            dataclasses.asdict(settings.train),
            settings.oversample.method,
            settings.oversample.seed,
            classes,
        )


@dataclass(frozen=True)
class Work:
    """What all trainings of a recipe have in common.

    Attributes:
        name: of no other work: a process builds the net of each once.
        recipe: what is trained.
        source: read by the place of work.
        kept: the records that the folds are of.
    """

    name: str
    recipe: Recipe = dataclasses.field(compare=False)
    source: Source = dataclasses.field(compare=False)
    kept: pd.DataFrame = dataclasses.field(compare=False)

    @classmethod
    def at(cls, place: Place, recipe: Recipe, source: Source, kept: pd.DataFrame) -> Work:
        """Return work for `place`, with all values of `source` where it does not read our files.

        Raises:
            ExecutionError: that is too much to send.
        """
        if not place.has_files:
            if source.bytes > MOST_SENT_BYTES:
                raise ExecutionError(
                    f"execution.files: {source.bytes / 1e9:.1f} GB are too much to send to each "
                    "node: put the project on a file system of all nodes and give "
                    "execution.files=shared"
                )
            source = source.in_memory()
        return cls(uuid.uuid4().hex, recipe, source, kept)


@dataclass(frozen=True)
class Asked:
    """One fold to train, and its seed."""

    fold: Fold
    seed: int

    def __str__(self) -> str:
        return f"repeat {self.fold.repeat + 1} fold {self.fold.fold + 1}"


def train_folds(
    recipe: Recipe,
    source: Source,
    kept: pd.DataFrame,
    folds: Sequence[Fold],
    done: FoldResults,
    place_of: Callable[[], Place] = Inline,
) -> list[FoldResult]:
    """The result of each of the `folds` of the records `kept`.

    It is found in `done`, the results of an earlier, killed run, or trained afresh and added there
    as soon as it comes. Where nothing is left to train, no place of work is asked for.
    """
    found = [done.find(one.repeat, one.fold, (len(one.held_out), recipe.classes)) for one in folds]
    asked = [
        Asked(fold, recipe.train["seed"] + number)
        for number, fold in enumerate(folds)
        if found[number] is None
    ]

    def keep(some: Sequence[Asked], results: Sequence[FoldResult]) -> None:
        for one, result in zip(some, results, strict=True):
            done.keep(one.fold.repeat, one.fold.fold, result)

    with logging_redirect_tqdm(), contextlib.ExitStack() as stack:
        trained: Iterator[Sequence[FoldResult]] = iter(())
        if asked:
            place = place_of()
            shared = [place.share(Work.at(place, recipe, source, kept))]
            stack.callback(learner_of.cache_clear)
            chunks = ([one] for one in asked)
            trained = ordered(place, train_some, shared, chunks, name=str, arrived=keep)
        results = []
        bar = tqdm(
            zip(folds, found, strict=True), recipe.name, len(folds), unit="fold", disable=None
        )
        for fold, known in bar:
            started = time.perf_counter()
            results.append(known or next(trained)[0])
            _log_fold(kept, fold, results[-1], time.perf_counter() - started)
    return results


def train_some(work: Work, asked: Sequence[Asked]) -> list[FoldResult]:
    """Train and predict some folds; a task of a place of work."""
    learner = learner_of(work)
    return [_trained(work, learner, one) for one in asked]


@functools.lru_cache(maxsize=1)
def learner_of(work: Work) -> Learner:
    """The net of `work`, built once in a process."""
    from knee.classifier.net import devices
    from knee.classifier.training import training
    from knee.classifier.training.learner import Learner

    devices.use_one_core()
    recipe = work.recipe
    plan = training.planned(recipe.backbone, recipe.head, recipe.train, recipe.classes)
    return Learner(plan, work.source)


def trial(recipe: Recipe, source: Source) -> str:
    """Return a digest of what a short training of the recipe on noise predicts.

    Of `source` only the shape of a row counts.
    """
    from knee.classifier.net import devices
    from knee.classifier.training import training
    from knee.classifier.training.learner import Learner

    devices.use_one_core()
    noise = np.random.default_rng(0).integers(0, 256, (1, TRIAL_ROWS, *source.values.shape[2:]))
    values = noise.astype(np.uint8) if source.pixels else (noise / 256).astype(np.float16)
    short = {"epochs": 1, "warmup_epochs": 0, "batch_size": TRIAL_ROWS // 2, "probe_epochs": 0}
    plan = training.planned(recipe.backbone, recipe.head, {**recipe.train, **short}, recipe.classes)
    rows = Subset(np.arange(TRIAL_ROWS), np.arange(TRIAL_ROWS) % recipe.classes)
    made = Learner(plan, Source(values, source.pixels)).train(rows, rows, rows.rows, 1)
    return hashlib.sha256(made.probabilities.tobytes()).hexdigest()


def place_of_work(
    settings: parameters.Params, name: str, features: Path, classes: int, source: Source
) -> Opened:
    """The place that `settings` name for trainings, opened once one is to be done."""
    recipe = Recipe.of(settings, name, features, classes)
    nothing = np.empty((0, 0, *source.values.shape[2:]))
    shape = dataclasses.replace(source, values=nothing, images=None)
    here = functools.partial(here_of, settings.execution)
    return Opened(settings.execution, functools.partial(trial, recipe, shape), here)


def here_of(settings: parameters.Execution) -> contextlib.AbstractContextManager[Place]:
    """Processes, one core each; with a GPU, which they would share, this one."""
    count = 0 if engines.gpu_is_visible() else processes.count(settings, PROCESS_BYTES)
    return (
        processes.Processes(count, settings.retries) if count else contextlib.nullcontext(Inline())
    )


def _trained(work: Work, learner: Learner, asked: Asked) -> FoldResult:
    recipe, kept, fold = work.recipe, work.kept, asked.fold
    rows = cross_validation.training_rows(kept, fold, recipe.oversampling, recipe.oversampling_seed)
    held_out = Subset.of(kept.iloc[fold.held_out])
    validation = Subset.of(kept.iloc[fold.validation])
    result = learner.train(Subset.of(rows), validation, held_out.rows, asked.seed)
    probabilities = scores.checked(held_out.class_indices, result.probabilities)
    return dataclasses.replace(result, probabilities=probabilities)


def _log_fold(kept: pd.DataFrame, fold: Fold, result: FoldResult, seconds: float) -> None:
    truth = kept["class_index"].to_numpy()[fold.held_out]
    figures = (scores.metric(name)(truth, result.probabilities) for name in SHOWN)
    text = "repeat %d fold %d  %d held out  epoch %d of %d  accuracy %.3f  macro_f1 %.3f  %.1f s"
    numbers = (fold.repeat + 1, fold.fold + 1, len(truth), result.best_epoch + 1, result.epochs)
    log.info(text, *numbers, *figures, seconds)
