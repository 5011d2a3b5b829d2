"""Metrics of predicted probabilities: the figures of test.json, each computed in one place.

A figure is computed for many weightings of the same records together: weights of 1 give the figure
itself, the weights of `bootstrap` say how often a record stands in each draw. `truth` is int
(records,) with class indices, `probabilities` is float (records, classes) with rows that sum to 1,
and the predicted class is the most probable one, the first of equals. A figure that the records do
not define (kappa where all is one class, the AUC where a class is absent from them all) is NaN here
and None in `score`, never a made-up number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from knee.run.errors import UserError
from knee.storage.arrays import Floats, Integers, Probabilities, Truth

OF_CLASSES: Final = (  # follow from predicted classes alone, without probabilities
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "weighted_f1",
    "quadratic_kappa",
)
LARGER_IS_BETTER: Final = (
    *OF_CLASSES,
    "median_class_accuracy",
    "median_class_kappa",
    "expected_class_kappa",
    "macro_auc",
)
HEADLINE: Final = (*LARGER_IS_BETTER, "log_loss", "expected_calibration_error")
TITLES: Final = {  # as people write them; of the others the name with blanks
    "macro_f1": "macro-F1",
    "weighted_f1": "weighted F1",
    "macro_auc": "macro AUC",
    "expected_calibration_error": "calibration error",
}

CALIBRATION_BINS: Final = 15
SIGNIFICANT_DIGITS: Final = 6  # of written probabilities: small ones matter to the log loss
DECIMALS: Final = 6  # of written figures
LARGEST_SUM_ERROR: Final = 1e-3  # of a row's probabilities: what rounding and bfloat16 may cause


class ScoreError(UserError):
    """Truth and probabilities that cannot be scored, or a metric that does not exist."""


@dataclass(frozen=True)
class Outcomes:
    """True classes and predicted probabilities of the same records.

    Raises:
        ScoreError: no records, or arrays that do not fit together.
    """

    truth: Truth  # positions in `classes`
    probabilities: Probabilities
    groups: npt.NDArray[Any]  # (records,) equal for those of one patient, or of copies
    classes: Sequence[str]  # in the order of the probabilities; for kappa, that of the scale

    def __post_init__(self) -> None:
        checked(self.truth, self.probabilities)
        if self.probabilities.shape[1] != len(self.classes):
            raise ScoreError(
                f"{self.probabilities.shape[1]} probabilities a record, "
                f"{len(self.classes)} class names"
            )
        if len(self.groups) != len(self.truth):
            raise ScoreError(f"{len(self.truth)} records and {len(self.groups)} groups")


def title(metric: str) -> str:
    """Return a metric's name as people write it."""
    return TITLES.get(metric, metric.replace("_", " "))


def score(outcomes: Outcomes) -> dict[str, Any]:
    """Return all figures of one model on one set of records, rounded.

    Returns:
        The metrics of `HEADLINE`, and per_class.<name>.{precision, recall, f1, support}. None
        stands for what is not defined: precision of a class that is never predicted, recall of
        one without records, F1 of one that is neither.
    """
    weights = np.ones((1, len(outcomes.truth)))
    figures = weighted_figures(outcomes.truth, outcomes.probabilities, weights)
    predicted = outcomes.probabilities.argmax(axis=1)
    counts = confusion(outcomes.truth, predicted, weights, len(outcomes.classes))
    hits, support, chosen = (of_classes[0] for of_classes in _margins(counts))
    columns = {
        "precision": _ratio(hits, chosen),
        "recall": _ratio(hits, support),
        "f1": _ratio(2 * hits, support + chosen),
    }
    per_class = {
        str(name): {
            **{key: known(values[number]) for key, values in columns.items()},
            "support": int(support[number]),
        }
        for number, name in enumerate(outcomes.classes)
    }
    return {**{name: known(figures[name][0]) for name in HEADLINE}, "per_class": per_class}


def lines(report: Mapping[str, Any]) -> list[str]:
    """Return a line for each metric of `HEADLINE` in a report with its `confidence_interval`."""
    bounds = report["confidence_interval"]
    return [
        f"{name:28} {report[name]}  ({bounds[name]['low']} to {bounds[name]['high']})"
        for name in HEADLINE
    ]


def metric(name: str) -> Callable[[Truth, Probabilities], float]:
    """Return the figure `name` of `HEADLINE` as a function (truth, probabilities) -> value or NaN.

    Raises:
        ScoreError: there is no such figure; the function raises it for arrays that do not fit.
    """
    if name not in HEADLINE:
        raise ScoreError(f"{name!r} is none of {', '.join(HEADLINE)}")

    def figure(truth: Truth, probabilities: Probabilities) -> float:
        values = checked(truth, probabilities)
        return float(weighted_figures(truth, values, np.ones((1, len(truth))))[name][0])

    return figure


def known(value: float) -> float | None:
    """Return `value` rounded to six decimals, or None for NaN."""
    return None if math.isnan(value) else round(float(value), DECIMALS)


def checked(truth: Truth, probabilities: Probabilities) -> Floats:
    """Return `probabilities` as float64.

    Raises:
        ScoreError: no records, shapes or class indices that do not fit, or rows that are not
            probabilities (NaN, negative, or not summing to 1), e.g. after training diverged.
    """
    values: Floats = np.asarray(probabilities, np.float64)
    if values.ndim != 2 or not values.size or len(truth) != len(values):
        raise ScoreError(f"{len(truth)} records and probabilities of shape {values.shape}")
    if truth.min() < 0 or truth.max() >= values.shape[1]:
        raise ScoreError(f"class indices outside 0-{values.shape[1] - 1}")
    sums = values.sum(axis=1)
    if not (np.abs(sums - 1) <= LARGEST_SUM_ERROR).all() or values.min() < 0:
        raise ScoreError("a row of probabilities is negative, NaN, or does not sum to 1")
    return values


def rounded(probabilities: Probabilities) -> Floats:
    """Return `probabilities` as tables hold them: anyone can recompute the figures from these."""
    rows = [[float(f"{value:.{SIGNIFICANT_DIGITS}g}") for value in row] for row in probabilities]
    return np.array(rows, np.float64).reshape(probabilities.shape)


def certain(predicted: Truth, classes: int) -> Floats:
    """Return rows of 0 and 1, (records, classes), for predicted class indices (records,)."""
    rows: Floats = np.eye(classes)[predicted]
    return rows


def median_class(probabilities: Probabilities) -> Integers:
    """Return (records,) the first class up to which half of the probability lies.

    Of all classes it has the smallest expected distance in steps of the scale, as the most probable
    one has the smallest chance to be wrong.
    """
    # Nine digits: how a sum is rounded must not decide what half is.
    reached = np.cumsum(np.asarray(probabilities, np.float64), axis=1).round(9) >= 0.5
    classes: Integers = reached.argmax(axis=1)
    return classes


def expected_class(probabilities: Probabilities) -> Integers:
    """Return (records,) the sum of class index x probability, rounded, halves up."""
    expected = np.asarray(probabilities, np.float64) @ np.arange(probabilities.shape[1])
    # Nine digits first: how a sum is rounded must not decide what half is.
    classes: Integers = np.floor(expected.round(9) + 0.5).astype(np.int64)
    return classes.clip(0, probabilities.shape[1] - 1)


def surprise(truth: Truth, probabilities: Probabilities) -> Floats:
    """Return (records,) the negative natural logarithm of the true class's probability.

    Probabilities are clipped at 2.2e-16. The mean over records is the log loss.
    """
    chosen = np.asarray(probabilities[np.arange(len(truth)), truth], np.float64)
    surprises: Floats = -np.log(chosen.clip(np.finfo(np.float64).eps))
    return surprises


def calibration_bins(confidence: Floats) -> Integers:
    """Return the bin 0-14 of each confidence: equal widths, open below and closed above."""
    bins: Integers = np.ceil(confidence * CALIBRATION_BINS).astype(np.int64) - 1
    return bins.clip(0, CALIBRATION_BINS - 1)  # 0, and sums a little above 1


def weighted_figures(
    truth: Truth, probabilities: Probabilities, weights: Floats
) -> dict[str, Floats]:
    """Compute the metrics of `HEADLINE` as if each record stood there `weight` times.

    The `weights` are (draws, records), >= 0, no row all 0; the figures are {metric: (draws,)}, NaN
    where a draw does not define one.
    """
    values = np.asarray(probabilities, np.float64)
    total = weights.sum(axis=1)
    median = figures_of_classes(truth, median_class(values), weights, values.shape[1])
    expected = confusion(truth, expected_class(values), weights, values.shape[1])
    return {
        **figures_of_classes(truth, values.argmax(axis=1), weights, values.shape[1]),
        "median_class_accuracy": median["accuracy"],
        "median_class_kappa": median["quadratic_kappa"],
        "expected_class_kappa": _quadratic_kappa(expected),
        "macro_auc": _macro_auc(truth, values, weights),
        "log_loss": weights @ surprise(truth, values) / total,
        "expected_calibration_error": _calibration_error(truth, values, weights) / total,
    }


def figures_of_classes(
    truth: Truth, predicted: Truth, weights: Floats, classes: int
) -> dict[str, Floats]:
    """Compute the metrics of `OF_CLASSES`, {metric: (draws,)}, of predicted class indices.

    F1 is that of the classes that have records or are predicted; a class that is only one of the
    two counts as 0.
    """
    counts = confusion(truth, predicted, weights, classes)
    hits, support, chosen = _margins(counts)
    total = weights.sum(axis=1)
    f1 = _ratio(2 * hits, support + chosen)
    return {
        "accuracy": hits.sum(axis=1) / total,
        "balanced_accuracy": balanced_accuracy(counts),
        "macro_f1": np.nanmean(f1, axis=1),
        "weighted_f1": np.nansum(f1 * support, axis=1) / total,
        "quadratic_kappa": _quadratic_kappa(counts),
    }


def confusion(truth: Truth, predicted: Truth, weights: Floats, classes: int) -> Floats:
    """Return (draws, true class, predicted class) summed weights."""
    cells = truth * classes + predicted
    summed = [np.bincount(cells, of_draw, classes * classes) for of_draw in weights]
    return np.reshape(summed, (len(weights), classes, classes))


def balanced_accuracy(counts: Floats) -> Floats:
    """Return (draws,) the mean recall of the classes that have records, of a `confusion`."""
    hits, support, _ = _margins(counts)
    recalls: Floats = np.nanmean(_ratio(hits, support), axis=1)
    return recalls


def _margins(counts: Floats) -> tuple[Floats, Floats, Floats]:
    """(draws, classes) records that are predicted right, that there are, that are predicted."""
    return np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=2), counts.sum(axis=1)


def _quadratic_kappa(counts: Floats) -> Floats:
    """1 - observed / chance disagreement, squared steps: Cohen 1968, doi 10.1037/h0026256."""
    _, support, chosen = _margins(counts)
    scale = np.arange(counts.shape[1])  # absent classes keep their place on it
    distance = np.square(np.subtract.outer(scale, scale)).astype(np.float64)
    observed = np.einsum("dij,ij->d", counts, distance)
    by_chance = np.einsum("di,dj,ij->d", support, chosen, distance) / support.sum(axis=1)
    return 1 - _ratio(observed, by_chance)


def _macro_auc(truth: Truth, probabilities: Floats, weights: Floats) -> Floats:
    """Area under the ROC curve, one class against the rest, mean of the classes with records."""
    ranks = enumerate(probabilities.T)
    areas = np.stack([_auc(truth == number, rank, weights) for number, rank in ranks])
    defined = ~np.isnan(areas)
    return _ratio(np.where(defined, areas, 0).sum(axis=0), defined.sum(axis=0).astype(np.float64))


def _auc(positive: npt.NDArray[np.bool_], rank: Floats, weights: Floats) -> Floats:
    """(draws,) chance that a positive stands above a negative, ties counting half."""
    order = np.argsort(rank, kind="stable")
    ordered, sorted_rank = weights[:, order], rank[order]
    negatives = np.where(positive[order], 0, ordered)
    below = np.zeros((len(weights), len(rank) + 1))
    np.cumsum(negatives, axis=1, out=below[:, 1:])
    at = np.flatnonzero(positive[order])
    first = np.searchsorted(sorted_rank, sorted_rank[at], side="left")
    last = np.searchsorted(sorted_rank, sorted_rank[at], side="right")
    mass = ordered[:, at]
    won = (mass * (below[:, first] + below[:, last])).sum(axis=1) / 2
    return _ratio(won, mass.sum(axis=1) * below[:, -1])


def _calibration_error(truth: Truth, probabilities: Floats, weights: Floats) -> Floats:
    """(draws,) sum over the bins of |summed confidence - summed hits|.

    Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 2.
    """
    confidence = probabilities.max(axis=1)
    excess = np.zeros((len(truth), CALIBRATION_BINS))
    hits = truth == probabilities.argmax(axis=1)
    excess[np.arange(len(truth)), calibration_bins(confidence)] = confidence - hits
    summed: Floats = np.abs(weights @ excess).sum(axis=1)
    return summed


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """NaN where the denominator is 0."""
    undefined = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    np.divide(numerator, denominator, out=undefined, where=denominator > 0)
    return undefined
