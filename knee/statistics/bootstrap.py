"""Intervals of figures over groups of records: the grouped bootstrap, and Wilson's for shares.

Whole groups (patients, images with their copies) are drawn with replacement, all records of a
group together: records of one group resemble each other, and drawing them one by one would make
the intervals too narrow. A draw is a row of record weights, so a figure of all draws is a few
matrix products. Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 8 and 13.

Known limits: where every record is right, so is every draw, and the interval has no width: shares
that may be 0 or 1 have Wilson's interval instead. The calibration error of few records is mostly
noise, which a draw doubles: its interval lies high.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from knee.statistics import scores
from knee.statistics.scores import Outcomes, known
from knee.storage.arrays import Floats

Interval = dict[str, float | None]

CELLS_AT_ONCE: Final = 4_000_000  # draws x records held in memory: 32 MB an array
SMALLEST_DEFINED_SHARE: Final = 0.5  # of the draws, for an interval of a test figure to be given


@dataclass(frozen=True)
class Bootstrap:
    """A grouped bootstrap: equal groups give equal draws, whatever is computed of them."""

    draws: int
    level: float  # share of the draws between an interval's ends, 0-1
    seed: int

    def weights(self, groups: npt.NDArray[Any]) -> Iterator[Floats]:
        """Yield weights (some draws, records): how often each record stands in a draw.

        Records of equal `groups` (records,) are drawn together. A draw takes as many groups as
        there are; of a single one there are no draws.
        """
        names, group_of = np.unique(groups, return_inverse=True)
        count = len(names)
        if count < 2:
            yield np.zeros((0, len(groups)))
            return
        generator = np.random.default_rng(self.seed)
        at_once = max(1, CELLS_AT_ONCE // len(groups))
        for start in range(0, self.draws, at_once):
            size = min(at_once, self.draws - start)
            times = generator.multinomial(count, np.full(count, 1 / count), size=size)
            yield times[:, group_of].astype(np.float64)

    def interval(self, values: Floats, smallest_defined_share: float = 0.0) -> Interval:
        """Return the percentiles {"low", "high"} between which `level` of (draws,) values lie.

        NaN is left out. Both are None where no draw is left, or a smaller share than asked for.
        """
        defined = values[~np.isnan(values)]
        if not len(defined) or len(defined) < smallest_defined_share * len(values):
            return {"low": None, "high": None}
        low, high = np.quantile(defined, ((1 - self.level) / 2, (1 + self.level) / 2))
        return {"low": known(low), "high": known(high)}

    def intervals(self, repeats: Sequence[Outcomes]) -> dict[str, Interval]:
        """Return {metric: {"low", "high"}} of every metric of `scores.HEADLINE`.

        Draws in which a figure is not defined are left out of its percentiles. Both ends are None
        where there is but one group, or fewer than half of the draws define the figure.

        The `repeats` are predictions of the same records, of whose figures the mean is meant. A
        draw weighs all of them alike, so repeating a cross-validation does not narrow the interval
        as if there were more records.
        """
        draws = [
            mean_figures(
                [scores.weighted_figures(one.truth, one.probabilities, weights) for one in repeats]
            )
            for weights in self.weights(repeats[0].groups)
        ]
        return {
            name: self.interval(
                np.concatenate([part[name] for part in draws]), SMALLEST_DEFINED_SHARE
            )
            for name in scores.HEADLINE
        }

    def figures(self, outcomes: Outcomes) -> dict[str, Any]:
        """Return `scores.score`, and confidence_interval.<metric> of each metric."""
        values = scores.score(outcomes)
        return {
            **{name: values[name] for name in scores.HEADLINE},
            "confidence_interval": self.intervals([outcomes]),
            "per_class": values["per_class"],
        }

    def mean_interval(self, values: npt.NDArray[Any], groups: npt.NDArray[Any]) -> Interval:
        """Return {"low", "high"} of the mean of (records,) values; both None with one group."""
        names, group_of = np.unique(groups, return_inverse=True)
        sums = np.stack([np.bincount(group_of, values), np.bincount(group_of)])
        total, records = sums @ np.concatenate([*self.weights(names)]).T
        return self.interval(total / records)


def mean_figures(repeats: Sequence[dict[str, Floats]]) -> dict[str, Floats]:
    """Return {metric: (draws,)} the mean over repeats, NaN where one does not define it."""
    return {name: np.mean([one[name] for one in repeats], axis=0) for name in repeats[0]}


def only(figures: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return those `names` of `Bootstrap.figures`, with their intervals."""
    bounds = figures["confidence_interval"]
    return {
        **{name: figures[name] for name in names},
        "confidence_interval": {name: bounds[name] for name in names},
    }


def share(values: npt.NDArray[np.bool_]) -> float | None:
    """Return which share of (records,) is true, 0-1; None without records."""
    return known(float(values.mean())) if len(values) else None


def share_interval(
    values: npt.NDArray[np.bool_], groups: npt.NDArray[Any], level: float
) -> Interval:
    """Return Wilson's {"low", "high"} of `share`, groups counting as records would.

    Wilson 1927, Journal of the American Statistical Association 22:209-212. Unlike the bootstrap it
    has a width where all records are alike. Both ends are None without records.
    """
    if not len(values):
        return {"low": None, "high": None}
    count, found = len(np.unique(groups)), float(values.mean())
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = found + z**2 / (2 * count)
    half = z * float(np.sqrt(found * (1 - found) / count + z**2 / (4 * count**2)))
    low, high = (float(end) / (1 + z**2 / count) for end in (centre - half, centre + half))
    return {"low": known(max(low, 0.0)), "high": known(min(high, 1.0))}
