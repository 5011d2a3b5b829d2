"""How the model's caution does on the test subset: what test.json says beside the scores.

`test` holds the test rows of predictions.csv with its columns prediction_set and
out_of_distribution, `training` is the content of training.json. Intervals are those of `shares`
for shares, of the grouped bootstrap for everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.evidence.evaluation import predictions
from knee.evidence.uncertainty import calibration, prediction_limits
from knee.statistics import bootstrap, scores
from knee.storage.arrays import Truth

CALIBRATED: Final = ("log_loss", "expected_calibration_error")
STEPS: Final = 2  # of the scale, from which on a mistake is a gross one
NOTE: Final = "drawn in code, no photographs: shows that the score works, not how well in practice"


@dataclass(frozen=True)
class Draws:
    """Of the intervals: bootstrap draws, level 0-1, seed."""

    draws: int
    level: float
    seed: int


def gross_errors(test: pd.DataFrame, training: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
    """off_by_two: share of records that are two classes or more off, and its interval."""
    predicted = predictions.probabilities_of(test, training["classes"]).argmax(axis=1)
    gross = np.abs(predicted - test["class_index"].to_numpy()) >= STEPS
    return {
        "off_by_two": bootstrap.share(gross),
        "interval": bootstrap.share_interval(gross, test["group"].to_numpy(), draws.level),
    }


def before(test: pd.DataFrame, training: Mapping[str, Any]) -> npt.NDArray[np.float64]:
    """(records, classes) what the probabilities were before calibration."""
    chances = predictions.probabilities_of(test, training["classes"])
    return calibration.scaled(chances, 1 / training.get("temperature", 1.0))


def calibrated(test: pd.DataFrame, training: Mapping[str, Any], draws: Draws) -> dict[str, Any]:
    """The temperature, and the test subset's figures before and after it."""
    truth, groups = test["class_index"].to_numpy(), test["group"].to_numpy()
    chances = {
        "before": before(test, training),
        "after": predictions.probabilities_of(test, training["classes"]),
    }
    surprise = [scores.surprise(truth, chances[when]) for when in ("after", "before")]
    change = surprise[0] - surprise[1]
    recorded = dict(training.get("calibration", {"method": "none"}))
    return {
        "temperature": training.get("temperature", 1.0),
        "validation": recorded,
        **{when: _scored(truth, values, groups, draws) for when, values in chances.items()},
        "log_loss_change": round(float(change.mean()), bootstrap.DECIMALS),
        "confidence_interval": {
            "log_loss_change": bootstrap.mean_interval(change, groups, **vars(draws))
        },
    }


def conformal_sets(
    test: pd.DataFrame, training: Mapping[str, Any], draws: Draws
) -> dict[str, Any] | None:
    """Coverage and size of the prediction sets; None for a model without."""
    if "conformal" not in training:
        return None
    classes, groups = training["classes"], test["group"].to_numpy()
    inside = _membership(test["prediction_set"], classes)
    truth, size = test["class_index"].to_numpy(), inside.sum(axis=1)
    covered = inside[np.arange(len(truth)), truth]
    kinds = {"coverage": covered, "singletons": size == 1, "empty": size == 0}
    return {
        "level": training["conformal"]["level"],
        **{name: bootstrap.share(values) for name, values in kinds.items()},
        "mean_set_size": round(float(size.mean()), bootstrap.DECIMALS),
        "confidence_interval": {
            **{n: bootstrap.share_interval(v, groups, draws.level) for n, v in kinds.items()},
            "mean_set_size": bootstrap.mean_interval(size, groups, **vars(draws)),
        },
        "per_class": {
            name: {
                "coverage": bootstrap.share(covered[truth == number]),
                **bootstrap.share_interval(
                    covered[truth == number], groups[truth == number], draws.level
                ),
                **training["conformal"]["per_class"][name],
            }
            for number, name in enumerate(classes)
        },
    }


def unlikeness(
    test: pd.DataFrame,
    training: Mapping[str, Any],
    strangers: Mapping[str, npt.NDArray[np.float64]],
    films: Mapping[str, npt.NDArray[np.float64]],
    draws: Draws,
) -> dict[str, Any] | None:
    """How many test films are flagged, and how many that should be; None for a model without.

    Args:
        test: see above.
        training: see above.
        strangers: kind -> scores of drawn pictures that are no radiographs.
        films: kind -> scores of test films as they must not come, such as upside down.
        draws: of the intervals.
    """
    if not training.get("novelty"):
        return None
    known = test["out_of_distribution"].to_numpy()
    found: dict[str, Any] = {
        "limit_distance": training["novelty"]["limit"],
        "familiar_quantile": training["novelty"]["quantile"],
        "flagged": bootstrap.share(known > 1),
        "confidence_interval": {
            "flagged": bootstrap.share_interval(known > 1, test["group"].to_numpy(), draws.level)
        },
    }
    if strangers:
        together = np.concatenate(list(strangers.values()))
        found["synthetic_non_radiographs"] = {
            "note": NOTE,
            **_told_apart(known, together),
            "per_kind": {kind: _told_apart(known, values) for kind, values in strangers.items()},
        }
        found["disturbed_films"] = {k: _told_apart(known, values) for k, values in films.items()}
    return found


def _told_apart(
    known: npt.NDArray[np.float64], strange: npt.NDArray[np.float64]
) -> dict[str, float | int | None]:
    """AUC of strange pictures against the test films, and the share of them that is flagged."""
    ordered = np.sort(known)
    below = np.searchsorted(ordered, strange, "left") + np.searchsorted(ordered, strange, "right")
    return {
        "images": len(strange),
        "auc": round(float(below.mean() / (2 * len(known))), bootstrap.DECIMALS),
        "flagged": bootstrap.share(strange > 1),
    }


def _scored(
    truth: Truth,
    chances: npt.NDArray[np.float64],
    groups: npt.NDArray[Any],
    draws: Draws,
) -> dict[str, Any]:
    bounds = bootstrap.intervals(truth, chances, groups, **vars(draws))
    return {
        **{name: scores.known(scores.metric(name)(truth, chances)) for name in CALIBRATED},
        "confidence_interval": {name: bounds[name] for name in CALIBRATED},
    }


def _membership(sets: pd.Series, classes: list[str]) -> npt.NDArray[np.bool_]:
    """(records, classes) from names as `caution` joins them."""
    chosen = [set(names.split(prediction_limits.BETWEEN)) for names in sets]
    return np.array([[name in one for name in classes] for one in chosen], dtype=bool)
