"""Paired bootstrap test: which of several predictors of the same records is better.

All predictors are resampled together: a draw of whole groups (patients, images with their copies)
gives the figure of each on the same records, so that what makes a draw easy or hard for all of them
drops out of the difference (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 8
and 13). Two-sided p-values come from the share of draws on the other side of zero, and are
corrected for the number of comparisons by Holm's step-down procedure (Holm 1979, Scandinavian
Journal of Statistics 6:65-70).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from itertools import combinations, product
from typing import Any, Final, Literal, TypedDict

import numpy as np

from knee.statistics import scores
from knee.statistics.bootstrap import Bootstrap, mean_figures
from knee.storage.arrays import Floats, Integers, Truth

SHOWN: Final = ("accuracy", "balanced_accuracy", "macro_f1")
MODEL: Final = "model"
SHORTCUT: Final = "shortcut"


class Difference(TypedDict, total=False):
    """The figure of a model less that of another predictor; None where it is not defined."""

    model: str
    other: str
    metric: str
    difference: float | None
    low: float | None
    high: float | None
    probability_better: float | None  # share of draws in which the model is ahead; ties are neither
    probability_worse: float | None  # share of draws in which it is behind
    p_value: float | None
    p_corrected: float | None
    significant: bool  # of `best_shortcuts` alone


class Comparison(TypedDict):
    """Result of `compare`; figures.<name> has kind and <metric>.{value, low, high}."""

    records: int
    groups: int
    figures: dict[str, dict[str, Any]]
    differences: list[Difference]


@dataclasses.dataclass(frozen=True)
class NamedPredictions:
    """Predictions of one model or baseline.

    Each array of `repeats`, one a repeat of the cross-validation, is (records, classes); predicted
    classes without probabilities are rows of 0 and 1.
    """

    name: str
    kind: Literal["model", "shortcut", "probe"]  # a shortcut needs no bone, a probe the features
    repeats: tuple[Floats, ...]


def compare(
    truth: Truth,
    groups: Integers,
    compared: Sequence[NamedPredictions],
    metric: str,
    bootstrap: Bootstrap,
) -> Comparison:
    """Compute the figures of each predictor, and the difference of each pair with a model in it.

    All are predictions of the same records, those of equal `groups` (records,) drawn together; the
    `metric`, of `scores.LARGER_IS_BETTER`, is the one by which differences are judged.

    Returns:
        Differences are of the models and the baselines first, then of the models among each other.
        Intervals and p-values are None where they are not defined, as with a single group.
    """
    metrics = tuple(dict.fromkeys((*SHOWN, metric)))
    points = _figures(truth, compared, [np.ones((1, len(truth)))], metrics)
    draws = _figures(truth, compared, bootstrap.weights(groups), metrics)
    figures = {
        one.name: {
            "kind": one.kind,
            **{
                name: {"value": scores.known(point[name][0]), **bootstrap.interval(drawn[name])}
                for name in metrics
            },
        }
        for one, point, drawn in zip(compared, points, draws, strict=True)
    }
    differences: list[Difference] = [
        {
            "model": compared[first].name,
            "other": compared[second].name,
            "metric": metric,
            "difference": scores.known(points[first][metric][0] - points[second][metric][0]),
            **_judged(draws[first][metric] - draws[second][metric], bootstrap),
        }
        for first, second in _pairs(compared)
    ]
    for one, p_value in zip(differences, holm([d["p_value"] for d in differences]), strict=True):
        one["p_corrected"] = p_value
    return {
        "records": len(truth),
        "groups": len(np.unique(groups)),
        "figures": figures,
        "differences": differences,
    }


def best_shortcuts(part: Comparison, metric: str, level: float) -> list[Difference]:
    """Say of each model whether it is significantly better than the best shortcut.

    A corrected p-value of at most 1 - `level`, that of the intervals, is significant.

    Returns:
        The row of `differences` against the shortcut with the largest figure, and significant:
        False, too, where the model is the worse one. Empty without a shortcut.
    """
    values = {
        name: one[metric]["value"] or 0
        for name, one in part["figures"].items()
        if one["kind"] == SHORTCUT
    }
    best = max(values, key=lambda name: values[name], default=None)
    found: list[Difference] = []
    for one in part["differences"]:
        if one["other"] == best:
            p_value, gap = one["p_corrected"], one["difference"]
            is_clear = p_value is not None and p_value <= 1 - level
            found.append({**one, "significant": is_clear and gap is not None and gap > 0})
    return found


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for the number of those that are not None.

    The smallest is multiplied by their number, the next one by one less, and so on; none may be
    smaller than the one before it.
    """
    ordered = sorted((value, place) for place, value in enumerate(p_values) if value is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (value, place) in enumerate(ordered):
        largest = max(largest, min(1.0, value * (len(ordered) - rank)))
        corrected[place] = round(largest, 6)
    return corrected


def _figures(
    truth: Truth,
    compared: Sequence[NamedPredictions],
    blocks: Iterable[Floats],
    metrics: Sequence[str],
) -> list[dict[str, Floats]]:
    """{metric: (draws,)} of each predictor; probabilities are left alone where they can be."""

    def of_block(part: Floats, weights: Floats) -> dict[str, Floats]:
        if set(metrics) <= set(scores.OF_CLASSES):
            predicted = part.argmax(axis=1)
            return scores.figures_of_classes(truth, predicted, weights, part.shape[1])
        return scores.weighted_figures(truth, part, weights)

    found = [  # each draw weighs the records alike for all predictors: that is the pairing
        [mean_figures([of_block(part, weights) for part in one.repeats]) for one in compared]
        for weights in blocks
    ]
    return [
        {name: np.concatenate([part[name] for part in parts]) for name in metrics}
        for parts in zip(*found, strict=True)
    ]


def _pairs(compared: Sequence[NamedPredictions]) -> list[tuple[int, int]]:
    """Positions: each model with each baseline, then each two models."""
    models = [number for number, one in enumerate(compared) if one.kind == MODEL]
    others = [number for number, one in enumerate(compared) if one.kind != MODEL]
    return [*product(models, others), *combinations(models, 2)]


def _judged(gaps: Floats, bootstrap: Bootstrap) -> Difference:
    """Interval, probabilities and p-value of differences (draws,), NaN where one is not defined."""
    defined = gaps[~np.isnan(gaps)]
    better = worse = p_value = None
    if len(defined):
        better, worse = (round(float(side.mean()), 6) for side in (defined > 0, defined < 0))
        # Never 0: as if one more draw had fallen on each side.
        smaller = min((defined <= 0).sum(), (defined >= 0).sum())
        p_value = round(min(1.0, 2 * float(smaller + 1) / (len(defined) + 1)), 6)
    ends = bootstrap.interval(defined)
    return {
        "low": ends["low"],
        "high": ends["high"],
        "probability_better": better,
        "probability_worse": worse,
        "p_value": p_value,
    }
