"""Uncertainty of a trained model: temperature, conformal sets, out-of-distribution score.

`learn` finds them after a training and `write` records them in training.json; `PredictionLimits`
applies them to new images, and says in plain words when a prediction should not be used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.evidence.uncertainty import calibration, cross_conformal, novelty
from knee.evidence.uncertainty.cross_conformal import CrossConformal
from knee.evidence.uncertainty.novelty import Novelty
from knee.storage.arrays import AnyFloats, Features, Floats, Images, Integers, Probabilities, Truth
from knee.storage.artifacts import ArtifactError

NOVELTY_FILE: Final = "novelty.npz"  # beside model.keras
BETWEEN: Final = "|"  # of the names in a prediction set
WARNING: Final = "unlike the radiographs that the model learned from: do not use this prediction"
DECIMALS: Final = 6
FEWEST_RECORDS: Final = 50  # that a temperature is fitted on


@dataclass(frozen=True)
class Observed:
    """Outputs of a classifier for some images."""

    probabilities: Probabilities
    features: Features  # (records, channels): the map that the head reads, averaged over positions
    folds: Images | None = None  # (records, folds, classes), by the members of each; of an ensemble


def split_outputs(rows: npt.NDArray[np.float32], classes: int, folds: int = 0) -> Observed:
    """Return what rows (n, outputs) of a net hold: of an ensemble of `folds` folds, or 0.

    The outputs are the probabilities, those of each fold, and the features.
    """
    within = rows[:, classes : classes * (1 + folds)].reshape(len(rows), folds, classes)
    return Observed(rows[:, :classes], rows[:, classes * (1 + folds) :], within)


@dataclass(frozen=True)
class Learned:
    """The uncertainty that `learn` or `learn_from_folds` found."""

    fit: calibration.Fit | None  # None where there was to be no temperature
    thresholds: Floats | CrossConformal  # (classes,) of the prediction sets of one net
    validation_records: Integers  # (classes,) how many each threshold comes from
    level: float  # of the prediction sets
    novelty: Novelty | None  # None with too few images, or features that do not differ
    held_out_scores: Floats  # (images,) out-of-distribution scores of held-out images
    quantile: float  # of the limit of the out-of-distribution score

    @property
    def temperature(self) -> float:
        """Divisor of the logits."""
        return self.fit.temperature if self.fit else 1.0


def thresholds(truth: Truth, probabilities: Probabilities, level: float) -> Floats:
    """Return (classes,) the largest score that is still in a prediction set.

    Split conformal prediction, class by class (Mondrian: Vovk, Gammerman and Shafer 2005,
    Algorithmic Learning in a Random World, section 4.5), with the score 1 - probability of the true
    class (Sadinle, Lei and Wasserman 2019, https://arxiv.org/abs/1609.00451). The threshold is the
    ceil((n + 1) level)-th smallest of the n scores of held-out records of that class; infinite
    where there are too few of them for `level`, 0-1: the class is in every set then. New records
    that are exchangeable with the held-out ones are covered with at least the frequency `level`, in
    every class. Radiographs of another hospital are not.
    """
    scores = 1 - np.asarray(probabilities, np.float64)
    found = np.full(scores.shape[1], np.inf)
    for number in range(len(found)):
        own = np.sort(scores[truth == number, number])
        # The product of a decimal level may lie a hair above a whole number.
        rank = max(math.ceil((len(own) + 1) * level - 1e-9), 1)
        if rank <= len(own):
            found[number] = own[rank - 1]
    return found


def prediction_sets(probabilities: Probabilities, limits: Floats) -> npt.NDArray[np.bool_]:
    """Return (records, classes) which classes are in each record's set; a set may be empty."""
    inside: npt.NDArray[np.bool_] = 1 - np.asarray(probabilities, np.float64) <= limits
    return inside


def learn(
    validation: Observed,
    truth: Truth,
    groups: npt.NDArray[Any],
    training: Features,
    *,
    method: Literal["temperature", "none"],
    level: float,
    quantile: float,
) -> Learned:
    """Learn the uncertainty from the validation subset, and from where the training images lie.

    The model is not calibrated yet. `training` has the features of the training images, each once.
    A prediction set is to hold the true class with the frequency `level`, 0-1; `quantile` is the
    share of validation images that are not flagged as out of distribution, 0-1.
    """
    fit = None
    if method == "temperature":
        fit = calibration.fit(truth, validation.probabilities, groups)
    calibrated = calibration.scaled(validation.probabilities, fit.temperature if fit else 1.0)
    known = novelty.fit(training, validation.features, quantile)
    return Learned(
        fit,
        thresholds(truth, calibrated, level),
        np.bincount(truth, minlength=calibrated.shape[1]),
        level,
        known,
        known.scores(validation.features) if known else np.empty(0),
        quantile,
    )


def learn_from_folds(
    out_of_fold: Probabilities,
    truth: Truth,
    groups: npt.NDArray[Any],
    fold: Integers,
    features: Features,
    channels: int,
    *,
    method: Literal["temperature", "none"],
    level: float,
    quantile: float,
) -> Learned:
    """Learn the uncertainty of an ensemble from all images that its nets held out once.

    `out_of_fold` are probabilities by the nets of `fold`, (records,), from 0. `features` are those
    of the whole ensemble: one map of `channels` that all members share, or as many maps as there
    are members, of which the first is used, and the fold that its member has not seen. Fewer than
    `FEWEST_RECORDS` records leave the temperature at 1.
    """
    fit = None
    if method == "temperature" and len(truth) >= FEWEST_RECORDS:
        fit = calibration.fit(truth, out_of_fold, groups)
    calibrated = calibration.scaled(out_of_fold, fit.temperature if fit else 1.0)
    sets = cross_conformal.learn(truth, calibrated, fold, int(fold.max()) + 1, level)
    if features.shape[1] == channels:
        known, held_out = novelty.cross_fit(features, fold, quantile) or (None, np.empty(0))
    else:
        own, unseen = features[:, :channels], fold == 0
        known = novelty.fit(own[~unseen], own[unseen], quantile)
        held_out = known.scores(own[unseen]) if known else np.empty(0)
    return Learned(fit, sets, sets.counts, level, known, held_out, quantile)


def write(learned: Learned, classes: Sequence[str], folder: Path) -> dict[str, Any]:
    """Write `NOVELTY_FILE` into `folder`; return the keys that go into training.json."""
    calibrated: dict[str, Any] = {"method": "none"}
    if learned.fit:
        fitted = asdict(learned.fit).items()
        calibrated = {"method": "temperature"} | {
            key: round(value, DECIMALS) if isinstance(value, float) else value
            for key, value in fitted
        }
    found = {
        "temperature": learned.temperature,
        "calibration": calibrated,
        "conformal": {
            "level": learned.level,
            "per_class": dict(zip(classes, _conformal(learned), strict=True)),
        },
    }
    if learned.novelty is not None:
        found["novelty"] = {
            "file": NOVELTY_FILE,
            "sha256": novelty.write(learned.novelty, folder / NOVELTY_FILE),
            "limit": round(learned.novelty.limit, DECIMALS),
            "quantile": learned.quantile,
        }
    return found


def _conformal(learned: Learned) -> list[dict[str, Any]]:
    """What is recorded of each class; `always_in_set`: it has too few records for the level."""
    sets, counts = learned.thresholds, learned.validation_records.tolist()
    if isinstance(sets, CrossConformal):
        return [
            {
                "always_in_set": sets.needed(count) == 0,
                "validation_records": count,
                "scores_of_folds": [held.round(DECIMALS).tolist() for held in folds],
            }
            for folds, count in zip(sets.scores, counts, strict=True)
        ]
    return [
        {
            "threshold": limit if math.isfinite(limit) else None,
            "always_in_set": not math.isfinite(limit),
            "validation_records": count,
        }
        for limit, count in zip(sets.tolist(), counts, strict=True)
    ]


@dataclass(frozen=True)
class PredictionLimits:
    """A trained model's uncertainty, applied to new images."""

    classes: tuple[str, ...]  # in the order of the probabilities
    # (classes,) of the prediction sets of one net; None for a model without
    thresholds: Floats | CrossConformal | None
    novelty: Novelty | None  # of the out-of-distribution score; None for a model without

    @property
    def folds(self) -> int:
        """Folds whose probabilities an ensemble gives beside its own; 0 for one net."""
        sets = self.thresholds
        return len(sets.scores[0]) if isinstance(sets, CrossConformal) else 0

    def sets(
        self, probabilities: Probabilities, folds: Images | None = None
    ) -> npt.NDArray[np.object_]:
        """Return (records,) names of each record's set, such as "Normal|Osteopenia", or "".

        `folds` are an ensemble's (records, folds, classes), as in `Observed`.
        """
        if self.thresholds is None:
            return np.full(len(probabilities), "", dtype=object)
        if isinstance(self.thresholds, CrossConformal):
            inside = self.thresholds.sets(np.asarray(folds, np.float64).round(DECIMALS))
        else:
            inside = prediction_sets(probabilities, self.thresholds)
        names = np.array(self.classes, dtype=object)
        return np.array([BETWEEN.join(names[row]) for row in inside], dtype=object)

    def scores(self, features: Features) -> Floats:
        """Return (records,) out-of-distribution scores, above 1 too much; NaN without any."""
        if self.novelty is None:
            return np.full(len(features), np.nan)
        channels = len(self.novelty.centre)  # of an ensemble's first member, if each has a map
        return self.novelty.scores(features[:, :channels]).round(DECIMALS)


def read(folder: Path, training: Mapping[str, Any]) -> PredictionLimits:
    """Return what `write` recorded in `training`, the content of `folder`/training.json.

    A model from before there was any has None in its place.

    Raises:
        ArtifactError: a file is missing or is not the recorded one, or the record is damaged.
    """
    file, sha256 = folder / "training.json", None
    limits: Floats | CrossConformal | None = None
    try:
        if "conformal" in training:
            limits = _read_conformal(training)
        if training.get("novelty"):
            sha256 = training["novelty"]["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{file}: conformal or novelty cannot be read ({error!r}): run `dvc repro`"
        ) from error
    known = None if sha256 is None else novelty.read(folder / NOVELTY_FILE, sha256)
    return PredictionLimits(tuple(training["classes"]), limits, known)


def _read_conformal(training: Mapping[str, Any]) -> Floats | CrossConformal:
    recorded = training["conformal"]["per_class"]
    of_classes = [recorded[name] for name in training["classes"]]
    if "scores_of_folds" in of_classes[0]:
        scores = [[np.sort(fold) for fold in one["scores_of_folds"]] for one in of_classes]
        return CrossConformal(scores, float(training["conformal"]["level"]))
    found = [one["threshold"] for one in of_classes]
    return np.array([np.inf if one is None else float(one) for one in found])


def warnings(scores: AnyFloats) -> pd.Series:
    """Return (records,) `WARNING` where a score is above 1, else ""."""
    return pd.Series(np.where(np.nan_to_num(scores) > 1, WARNING, ""), dtype=object)
