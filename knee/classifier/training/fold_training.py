"""Train and predict the folds of a cross-validation, one after another, in one process."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pandas as pd
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from knee.classifier.features.feature_source import Source, Subset
from knee.classifier.net.design import BackboneDesign, read_design
from knee.evidence.evaluation.fold_results import FoldResult, FoldResults
from knee.run import parameters
from knee.splits import cross_validation
from knee.splits.cross_validation import Fold
from knee.statistics import scores

if TYPE_CHECKING:  # TensorFlow is not imported where every fold is found
    from knee.classifier.training.learner import Learner

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


def train_folds(
    recipe: Recipe, source: Source, kept: pd.DataFrame, folds: Sequence[Fold], done: FoldResults
) -> list[FoldResult]:
    """The result of each of the `folds` of the records `kept`.

    It is found in `done`, the results of an earlier, killed run, or trained afresh and added there.
    """
    learner: Learner | None = None
    results = []
    with logging_redirect_tqdm():
        for number, fold in enumerate(tqdm(folds, recipe.name, unit="fold", disable=None)):
            started = time.perf_counter()
            found = done.find(fold.repeat, fold.fold, (len(fold.held_out), recipe.classes))
            if found is None:
                learner = learner or _learner(recipe, source)
                found = _trained(recipe, learner, kept, fold, recipe.train["seed"] + number)
                done.keep(fold.repeat, fold.fold, found)
            results.append(found)
            _log_fold(kept, fold, found, time.perf_counter() - started)
    return results


def _learner(recipe: Recipe, source: Source) -> Learner:
    from knee.classifier.training import training
    from knee.classifier.training.learner import Learner

    plan = training.planned(recipe.backbone, recipe.head, recipe.train, recipe.classes)
    return Learner(plan, source)


def _trained(
    recipe: Recipe, learner: Learner, kept: pd.DataFrame, fold: Fold, seed: int
) -> FoldResult:
    rows = cross_validation.training_rows(kept, fold, recipe.oversampling, recipe.oversampling_seed)
    held_out = Subset.of(kept.iloc[fold.held_out])
    validation = Subset.of(kept.iloc[fold.validation])
    result = learner.train(Subset.of(rows), validation, held_out.rows, seed)
    probabilities = scores.checked(held_out.class_indices, result.probabilities)
    return dataclasses.replace(result, probabilities=probabilities)


def _log_fold(kept: pd.DataFrame, fold: Fold, result: FoldResult, seconds: float) -> None:
    truth = kept["class_index"].to_numpy()[fold.held_out]
    figures = (scores.metric(name)(truth, result.probabilities) for name in SHOWN)
    text = "repeat %d fold %d  %d held out  epoch %d of %d  accuracy %.3f  macro_f1 %.3f  %.1f s"
    numbers = (fold.repeat + 1, fold.fold + 1, len(truth), result.best_epoch + 1, result.epochs)
    log.info(text, *numbers, *figures, seconds)
