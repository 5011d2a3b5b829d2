"""Intervals of shares and of means over groups of records.

A share gets Wilson's interval (1927, doi 10.1080/01621459.1927.10502953) with the number of groups
in the place of the number of records: unlike a bootstrap it has a width where all are right, and
records of one group count as one. A mean gets the percentiles of the grouped bootstrap.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

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
