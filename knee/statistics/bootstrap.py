"""Percentile intervals of the test figures by the grouped bootstrap.

Whole groups (patients, pictures with their copies) are drawn with replacement, all records of a
group together: records of one group resemble each other, and drawing them one by one would make
the intervals too narrow. A draw is a row of record weights, so a figure of all draws is a few
matrix products. Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 8 and 13.

Known limits: where every record is right, so is every draw, and the interval has no width. The
calibration error of few records is mostly noise, which a draw doubles: its interval lies high.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from knee.statistics import scores
from knee.storage.arrays import Floats, Probabilities, Truth

CELLS_AT_ONCE: Final = 4_000_000  # draws x records held in memory: 32 MB an array
OF_GUESSES: Final = (  # that need no probabilities, and are quick
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "weighted_f1",
    "quadratic_kappa",
)
SMALLEST_DEFINED_SHARE: Final = 0.5  # of the draws, for an interval to be given at all


def intervals(
    truth: Truth,
    probabilities: Probabilities,
    groups: npt.NDArray[np.integer[Any]],
    *,
    draws: int,
    level: float,
    seed: int,
) -> dict[str, dict[str, float | None]]:
    """{metric: {"low", "high"}} of every metric of `scores.HEADLINE`.

    Draws in which a figure is not defined are left out of its percentiles. Both ends are None
    where there is but one group, or fewer than half of the draws define the figure.

    Args:
        truth: int (records,), class indices.
        probabilities: float (records, classes).
        groups: (records,) records with the same value are drawn together.
        draws: number of bootstrap draws, >= 1.
        level: share of the draws between the ends, 0-1.
        seed: of the draws.

    Raises:
        scores.ScoreError: arrays that do not fit together.
    """
    return repeated_intervals(truth, [probabilities], groups, draws=draws, level=level, seed=seed)


def repeated_intervals(
    truth: Truth,
    repeats: Sequence[Probabilities],
    groups: npt.NDArray[np.integer[Any]],
    *,
    draws: int,
    level: float,
    seed: int,
) -> dict[str, dict[str, float | None]]:
    """As `intervals`, of the mean figures of several predictions of the same records.

    A draw weighs all repeats alike, so repeating a cross-validation does not narrow the interval
    as if there were more records.

    Args:
        truth: int (records,), class indices.
        repeats: each float (records, classes).
        groups: (records,) records with the same value are drawn together.
        draws: number of bootstrap draws, >= 1.
        level: share of the draws between the ends, 0-1.
        seed: of the draws.
    """
    chances = [scores.checked(truth, probabilities) for probabilities in repeats]
    if len(groups) != len(truth):
        raise scores.ScoreError(f"{len(truth)} records and {len(groups)} groups")
    names, group_of = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return {name: {"low": None, "high": None} for name in scores.HEADLINE}
    parts = [
        _mean_figures(truth, chances, weights)
        for weights in draws_of_groups(group_of, len(names), draws, seed)
    ]
    ends = ((1 - level) / 2, (1 + level) / 2)
    return {
        name: _percentiles(np.concatenate([part[name] for part in parts]), ends)
        for name in scores.HEADLINE
    }


def draws_of_groups(
    group_of: npt.NDArray[np.integer[Any]], groups: int, draws: int, seed: int
) -> Iterator[Floats]:
    """Weights (some draws, records): how often each record stands in a draw of `groups` groups.

    Args:
        group_of: (records,) number of each record's group, from 0.
        groups: how many there are.
        draws: number of draws in all.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    at_once = max(1, CELLS_AT_ONCE // len(group_of))
    for start in range(0, draws, at_once):
        size = min(at_once, draws - start)
        times = generator.multinomial(groups, np.full(groups, 1 / groups), size=size)
        yield times[:, group_of].astype(np.float64)


def _mean_figures(truth: Truth, repeats: Sequence[Floats], weights: Floats) -> dict[str, Floats]:
    """{metric: (draws,)} mean over the repeats, NaN where one does not define it."""
    figures = [weighted_figures(truth, chances, weights) for chances in repeats]
    return {name: np.mean([one[name] for one in figures], axis=0) for name in scores.HEADLINE}


def weighted_figures(truth: Truth, probabilities: Floats, weights: Floats) -> dict[str, Floats]:
    """The metrics of `scores.HEADLINE`, as if each record stood there `weight` times.

    Args:
        truth: int (records,).
        probabilities: (records, classes), rows summing to 1.
        weights: (draws, records), >= 0, no row all 0.

    Returns:
        {metric: (draws,)}, NaN where a draw does not define it.
    """
    total, classes = weights.sum(axis=1), probabilities.shape[1]
    at_median = _confusion(truth, scores.median_class(probabilities), weights, classes)
    median = _of_confusion(at_median, total)
    expected = _confusion(truth, scores.expected_class(probabilities), weights, classes)
    return {
        **weighted_figures_of_guesses(truth, probabilities, weights),
        "median_class_accuracy": median["accuracy"],
        "median_class_kappa": median["quadratic_kappa"],
        "expected_class_kappa": _quadratic_kappa(expected),
        "macro_auc": _macro_auc(truth, probabilities, weights),
        "log_loss": weights @ scores.surprise(truth, probabilities) / total,
        "expected_calibration_error": _calibration_error(truth, probabilities, weights) / total,
    }


def weighted_figures_of_guesses(
    truth: Truth, probabilities: Floats, weights: Floats
) -> dict[str, Floats]:
    """As `weighted_figures`, the metrics of `OF_GUESSES` alone: for many draws."""
    predicted = probabilities.argmax(axis=1)
    confusion = _confusion(truth, predicted, weights, probabilities.shape[1])
    return _of_confusion(confusion, weights.sum(axis=1))


def _percentiles(values: Floats, ends: tuple[float, float]) -> dict[str, float | None]:
    defined = values[~np.isnan(values)]
    if len(defined) < SMALLEST_DEFINED_SHARE * len(values):
        return {"low": None, "high": None}
    low, high = np.quantile(defined, ends)
    return {"low": scores.known(low), "high": scores.known(high)}


def _confusion(
    truth: Truth, predicted: npt.NDArray[np.int64], weights: Floats, classes: int
) -> Floats:
    """(draws, true class, predicted class) summed weights."""
    cell = truth * classes + predicted
    cells = np.zeros((len(truth), classes * classes))
    cells[np.arange(len(truth)), cell] = 1
    return (weights @ cells).reshape(-1, classes, classes)


def _of_confusion(confusion: Floats, total: Floats) -> dict[str, Floats]:
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    support, chosen = confusion.sum(axis=2), confusion.sum(axis=1)
    recall = _ratio(hits, support)
    f1 = _ratio(2 * hits, support + chosen)  # NaN: neither true nor predicted, so it does not count
    return {
        "accuracy": hits.sum(axis=1) / total,
        "balanced_accuracy": np.nanmean(recall, axis=1),
        "macro_f1": np.nanmean(f1, axis=1),
        "weighted_f1": np.nansum(f1 * support, axis=1) / total,
        "quadratic_kappa": _quadratic_kappa(confusion),
    }


def _quadratic_kappa(confusion: Floats) -> Floats:
    """1 - observed / chance disagreement, as in Cohen 1968, doi 10.1037/h0026256."""
    support, chosen = confusion.sum(axis=2), confusion.sum(axis=1)
    total = support.sum(axis=1)
    scale = np.arange(confusion.shape[1])
    distance = np.square(np.subtract.outer(scale, scale)).astype(np.float64)
    observed = np.einsum("dij,ij->d", confusion, distance)
    by_chance = np.einsum("di,dj,ij->d", support, chosen, distance) / total
    return 1 - _ratio(observed, by_chance)


def _macro_auc(truth: Truth, probabilities: Floats, weights: Floats) -> Floats:
    areas = [
        _auc(truth == number, probabilities[:, number], weights)
        for number in range(probabilities.shape[1])
    ]
    stacked = np.stack(areas)
    defined = ~np.isnan(stacked)
    return _ratio(np.where(defined, stacked, 0).sum(axis=0), defined.sum(axis=0).astype(np.float64))


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
    """(draws,) sum over the bins of |summed confidence - summed hits|."""
    confidence = probabilities.max(axis=1)
    excess = np.zeros((len(truth), scores.CALIBRATION_BINS))
    bins = scores.calibration_bins(confidence)
    excess[np.arange(len(truth)), bins] = confidence - (truth == probabilities.argmax(axis=1))
    summed: Floats = np.abs(weights @ excess).sum(axis=1)
    return summed


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """NaN where the denominator is 0."""
    undefined = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    np.divide(numerator, denominator, out=undefined, where=denominator > 0)
    return undefined


# Intervals of shares and of means over groups of records.

Interval = dict[str, float | None]
DECIMALS = 6


def share(values: npt.NDArray[np.bool_]) -> float | None:
    """How many of (records,) are true; None without records."""
    return round(float(values.mean()), DECIMALS) if len(values) else None


def share_interval(
    values: npt.NDArray[np.bool_], groups: npt.NDArray[Any], level: float
) -> Interval:
    """{"low", "high"} of `share`; both None without records."""
    if not len(values):
        return {"low": None, "high": None}
    count, found = len(np.unique(groups)), float(values.mean())
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = found + z**2 / (2 * count)
    half = z * float(np.sqrt(found * (1 - found) / count + z**2 / (4 * count**2)))
    low, high = (float(end) / (1 + z**2 / count) for end in (centre - half, centre + half))
    return {"low": round(max(low, 0.0), DECIMALS), "high": round(min(high, 1.0), DECIMALS)}


def mean_interval(
    values: npt.NDArray[Any], groups: npt.NDArray[Any], *, draws: int, level: float, seed: int
) -> Interval:
    """{"low", "high"} of the mean of (records,); both None with one group."""
    names, group_of = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return {"low": None, "high": None}
    sums = np.stack([np.bincount(group_of, values), np.bincount(group_of)])
    generator = np.random.default_rng(seed)
    times = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    total, records = sums @ times.T
    low, high = np.quantile(total / records, [(1 - level) / 2, (1 + level) / 2])
    return {"low": round(float(low), DECIMALS), "high": round(float(high), DECIMALS)}
