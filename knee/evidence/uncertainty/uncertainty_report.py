"""Quality of a model's uncertainty on the test subset: that part of test.json.

`test` holds the test rows of predictions.csv with its columns prediction_set and
out_of_distribution. Shares have Wilson's interval over groups, everything else the grouped
bootstrap's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.evidence.evaluation import predictions
from knee.evidence.evaluation.json_contents import TrainingRecord
from knee.evidence.uncertainty import calibration, novelty
from knee.evidence.uncertainty.prediction_limits import BETWEEN
from knee.statistics import scores
from knee.statistics.bootstrap import Bootstrap, Interval, only, share, share_interval
from knee.statistics.scores import Outcomes
from knee.storage.arrays import Floats

CALIBRATED: Final = ("log_loss", "expected_calibration_error")
STEPS: Final = 2  # of the scale, from which on a mistake is a gross one
NOTE: Final = "drawn in code, no photographs: shows that the score works, not how well in practice"

Scores = Mapping[str, Floats]  # out-of-distribution scores (images,) by kind of image


def report(
    test: pd.DataFrame,
    training: TrainingRecord,
    non_radiographs: Scores,
    corrupted: Scores,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """Return calibration, conformal and out_of_distribution; None of what a model has not.

    The scores are of synthetic images that are no radiographs, and of test images that were
    corrupted on purpose, such as upside down.
    """
    return {
        "calibration": _calibrated(test, training, bootstrap),
        "conformal": _conformal_sets(test, training, bootstrap),
        "out_of_distribution": _out_of_distribution(
            test, training, non_radiographs, corrupted, bootstrap.level
        ),
    }


def gross_errors(outcomes: Outcomes, level: float) -> tuple[float | None, Interval]:
    """Return the share of records that are two classes or more off, and its interval."""
    gross = np.abs(outcomes.probabilities.argmax(axis=1) - outcomes.truth) >= STEPS
    return share(gross), share_interval(gross, outcomes.groups, level)


def before_calibration(test: pd.DataFrame, training: TrainingRecord) -> Outcomes:
    """Return the outcomes with the probabilities as they were before calibration."""
    after = predictions.outcomes(test, training["classes"])
    scaled = calibration.scaled(after.probabilities, 1 / training.get("temperature", 1.0))
    return replace(after, probabilities=scaled)


def _calibrated(
    test: pd.DataFrame, training: TrainingRecord, bootstrap: Bootstrap
) -> dict[str, Any]:
    """The temperature, and the test subset's figures before and after it."""
    before = before_calibration(test, training)
    after = predictions.outcomes(test, training["classes"])
    surprises = [scores.surprise(one.truth, one.probabilities) for one in (before, after)]
    change = surprises[1] - surprises[0]
    return {
        "temperature": training.get("temperature", 1.0),
        "validation": dict(training.get("calibration", {"method": "none"})),
        "before": only(bootstrap.figures(before), CALIBRATED),
        "after": only(bootstrap.figures(after), CALIBRATED),
        "log_loss_change": scores.known(float(change.mean())),
        "confidence_interval": {"log_loss_change": bootstrap.mean_interval(change, after.groups)},
    }


def _conformal_sets(
    test: pd.DataFrame, training: TrainingRecord, bootstrap: Bootstrap
) -> dict[str, Any] | None:
    """Coverage and size of the prediction sets; None for a model without."""
    if "conformal" not in training:
        return None
    classes, groups = training["classes"], test["group"].to_numpy()
    inside = _membership(test["prediction_set"], classes)
    truth, size = test["class_index"].to_numpy(), inside.sum(axis=1)
    covered = inside[np.arange(len(truth)), truth]
    kinds = {"coverage": covered, "singletons": size == 1, "empty": size == 0}
    per_class = {}
    for number, name in enumerate(classes):
        own = truth == number
        per_class[name] = {
            "coverage": share(covered[own]),
            **share_interval(covered[own], groups[own], bootstrap.level),
            **training["conformal"]["per_class"][name],
        }
    return {
        "level": training["conformal"]["level"],
        **{name: share(values) for name, values in kinds.items()},
        "mean_set_size": scores.known(float(size.mean())),
        "confidence_interval": {
            **{name: share_interval(v, groups, bootstrap.level) for name, v in kinds.items()},
            "mean_set_size": bootstrap.mean_interval(size, groups),
        },
        "per_class": per_class,
    }


def _out_of_distribution(
    test: pd.DataFrame,
    training: TrainingRecord,
    non_radiographs: Scores,
    corrupted: Scores,
    level: float,
) -> dict[str, Any] | None:
    """How many test images are flagged, and how many that should be; None for a model without."""
    if not training.get("novelty"):
        return None
    of_test = test["out_of_distribution"].to_numpy()
    found: dict[str, Any] = {
        "limit_distance": training["novelty"]["limit"],
        "familiar_quantile": training["novelty"]["quantile"],
        "flagged": share(of_test > 1),
        "confidence_interval": {
            "flagged": share_interval(of_test > 1, test["group"].to_numpy(), level)
        },
    }
    if non_radiographs:
        found["synthetic_non_radiographs"] = {
            "note": NOTE,
            **novelty.separation(of_test, np.concatenate(list(non_radiographs.values()))),
            "per_kind": {
                kind: novelty.separation(of_test, s) for kind, s in non_radiographs.items()
            },
        }
        found["disturbed_films"] = {
            kind: novelty.separation(of_test, s) for kind, s in corrupted.items()
        }
    return found


def _membership(sets: pd.Series, classes: Sequence[str]) -> npt.NDArray[np.bool_]:
    """(records, classes) from names as `prediction_limits` joins them."""
    members = [set(names.split(BETWEEN)) for names in sets]
    return np.array([[name in one for name in classes] for one in members], dtype=bool)
