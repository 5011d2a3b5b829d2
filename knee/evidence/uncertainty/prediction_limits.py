"""What a model knows about its own limits: temperature, prediction sets, unlikeness.

`learn` finds them after a training and `facts` is their record in training.json; `Caution` applies
them to new images, and says in plain words when a prediction should not be used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.evidence.uncertainty import calibration, novelty, prediction_sets
from knee.run.errors import UserError
from knee.storage.arrays import Features, Probabilities

NOVELTY_FILE: Final = "novelty.npz"  # beside model.keras
BETWEEN: Final = "|"  # of the names in a prediction set
WARNING: Final = "unlike the radiographs that the model learned from: do not use this prediction"
DECIMALS: Final = 6


class CautionError(UserError):
    """What a model is to know about its limits is missing, damaged, or another model's."""


@dataclass(frozen=True)
class Observed:
    """What the trained part makes of some records.

    Attributes:
        probabilities: (records, classes).
        features: (records, channels), the map that the head reads, averaged over its positions.
    """

    probabilities: Probabilities
    features: Features


@dataclass(frozen=True)
class Learned:
    """What `learn` found.

    Attributes:
        fit: the temperature; None where there was to be none.
        thresholds: (classes,) of the prediction sets.
        validation_records: (classes,) how many each threshold comes from.
        level: of the prediction sets.
        unlikeness: None with too few images.
        quantile: of its limit.
    """

    fit: calibration.Fit | None
    thresholds: npt.NDArray[np.float64]
    validation_records: npt.NDArray[np.int64]
    level: float
    unlikeness: novelty.Novelty | None
    quantile: float

    @property
    def temperature(self) -> float:
        """What the logits are to be divided by."""
        return self.fit.temperature if self.fit else 1.0


def learn(
    validation: Observed,
    truth: npt.NDArray[np.integer[Any]],
    groups: npt.NDArray[Any],
    training: Features,
    *,
    method: Literal["temperature", "none"],
    level: float,
    quantile: float,
) -> Learned:
    """Everything from the validation subset, but for where the training images lie.

    Args:
        validation: of an uncalibrated model.
        truth: (records,) class indices.
        groups: (records,) of the split.
        training: features of training images, each once.
        method: of calibration.
        level: frequency with which a prediction set is to hold the true class, 0-1.
        quantile: of validation images that are not called unlike, 0-1.
    """
    fit = None
    if method == "temperature":
        fit = calibration.fit(truth, validation.probabilities, groups)
    chances = calibration.scaled(validation.probabilities, fit.temperature if fit else 1.0)
    return Learned(
        fit,
        prediction_sets.thresholds(truth, chances, level),
        np.bincount(truth, minlength=chances.shape[1]),
        level,
        novelty.fit(training, validation.features, quantile),
        quantile,
    )


def write(learned: Learned, classes: Sequence[str], folder: Path) -> dict[str, Any]:
    """Write `NOVELTY_FILE` into `folder`; the keys that training.json has of it all."""
    fit = learned.fit
    per_class = {
        name: {
            "threshold": float(limit) if np.isfinite(limit) else None,
            "always_in_set": not bool(np.isfinite(limit)),  # too few records for this level
            "validation_records": int(count),
        }
        for name, limit, count in zip(
            classes, learned.thresholds, learned.validation_records, strict=True
        )
    }
    found = {
        "temperature": learned.temperature,
        "calibration": {"method": "temperature", **_rounded(asdict(fit))}
        if fit
        else {"method": "none"},
        "conformal": {"level": learned.level, "per_class": per_class},
    }
    if learned.unlikeness is not None:
        found["novelty"] = {
            "file": NOVELTY_FILE,
            "sha256": novelty.write(learned.unlikeness, folder / NOVELTY_FILE),
            "limit": round(learned.unlikeness.limit, DECIMALS),
            "quantile": learned.quantile,
        }
    return found


@dataclass(frozen=True)
class Caution:
    """A trained model's caution, applied to new images.

    Attributes:
        classes: names, in the order of the probabilities.
        thresholds: (classes,) of the prediction sets; None for a model without.
        unlikeness: None for a model without.
    """

    classes: tuple[str, ...]
    thresholds: npt.NDArray[np.float64] | None
    unlikeness: novelty.Novelty | None

    def sets(self, probabilities: Probabilities) -> npt.NDArray[np.object_]:
        """(records,) names of each record's set, such as "Normal|Osteopenia"; "" if it is empty."""
        if self.thresholds is None:
            return np.full(len(probabilities), "", dtype=object)
        inside = prediction_sets.prediction_sets(probabilities, self.thresholds)
        names = np.array(self.classes, dtype=object)
        return np.array([BETWEEN.join(names[row]) for row in inside], dtype=object)

    def scores(self, features: Features) -> npt.NDArray[np.float64]:
        """(records,) unlikeness, above 1 too much; NaN where the model has none."""
        if self.unlikeness is None:
            return np.full(len(features), np.nan)
        return self.unlikeness.scores(features).round(DECIMALS)


def read(folder: Path, training: Mapping[str, Any]) -> Caution:
    """The caution that `write` recorded in `training`, the content of `folder`/training.json.

    A model from before there was any has None in its place.

    Raises:
        CautionError: a file is missing or is not the recorded one, or the record is damaged.
    """
    limits, unlikeness = None, None
    try:
        if "conformal" in training:
            recorded = training["conformal"]["per_class"]
            limits = np.array([_limit(recorded[name]) for name in training["classes"]])
        if training.get("novelty"):
            unlikeness = novelty.read(folder / NOVELTY_FILE, training["novelty"]["sha256"])
    except novelty.NoveltyError as error:
        raise CautionError(str(error)) from error
    except (KeyError, TypeError, ValueError) as error:
        raise CautionError(
            f"{folder / 'training.json'}: conformal or novelty cannot be read ({error!r}): "
            "run `dvc repro` to make it again"
        ) from error
    return Caution(tuple(training["classes"]), limits, unlikeness)


def warnings(scores: npt.NDArray[np.floating[Any]]) -> pd.Series:
    """(records,) `WARNING` where a score is above 1, else ""."""
    return pd.Series(np.where(np.nan_to_num(scores) > 1, WARNING, ""), dtype=object)


def _limit(recorded: Mapping[str, Any]) -> float:
    return np.inf if recorded["threshold"] is None else float(recorded["threshold"])


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: round(v, DECIMALS) if isinstance(v, float) else v for k, v in values.items()}
