"""Temperature scaling: one number that makes probabilities as sure as they are right.

Guo et al. 2017, https://arxiv.org/abs/1706.04599: logits are divided by a temperature T that
minimises the negative log likelihood of held-out records. On probabilities that is p^(1/T), brought
back to a sum of 1; so `scaled(scaled(p, T), 1 / T)` is p again. Order and predicted class stay.

`truth` is int (records,), `probabilities` float (records, classes), rows sum to 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from knee.statistics.bootstrap import Bootstrap, Interval
from knee.storage.arrays import AnyFloats, Floats, Truth

LARGEST: Final = 8.0  # temperature, and the inverse of the smallest: separable records have no best
BOOTSTRAP: Final = Bootstrap(draws=500, level=0.95, seed=42)  # of the interval
GRID: Final = np.linspace(-math.log(LARGEST), math.log(LARGEST), 201)  # of log T: steps of 2 %
DECIMALS: Final = 6  # of the temperature
SMALLEST_PROBABILITY: Final = 1e-38  # of float32: a logarithm has to exist


@dataclass(frozen=True)
class Fit:
    """A temperature, and how well the records determine it."""

    temperature: float  # above 1 where the net is too sure, below where it is not sure enough
    low: float | None  # percentiles over draws of groups; None with one group
    high: float | None
    at_bound: bool  # the search ended at its bound, so that no value is to be trusted
    records: int  # that it was fitted on
    log_loss_before: float  # of these records, in nats
    log_loss_after: float  # the same, scaled


def scaled(probabilities: AnyFloats, temperature: float) -> Floats:
    """Return probabilities (records, classes) of logits divided by `temperature`, > 0."""
    return _softmax(_logarithms(probabilities) / temperature)


def averaged(probabilities: AnyFloats) -> Floats:
    """Return those (records, classes) of the mean logits of nets (nets, records, classes)."""
    return _softmax(_logarithms(probabilities).mean(axis=0))


def _logarithms(probabilities: AnyFloats) -> Floats:
    return np.log(np.maximum(np.asarray(probabilities, np.float64), SMALLEST_PROBABILITY))


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def fit(truth: Truth, probabilities: AnyFloats, groups: npt.NDArray[Any]) -> Fit:
    """Fit the temperature of the lowest mean log loss, and its interval by the grouped bootstrap.

    Records of equal `groups` (records,) are drawn together.
    """
    from scipy.optimize import minimize_scalar

    def loss(logarithm: float) -> float:
        return float(_losses(truth, probabilities, math.exp(logarithm)).mean())

    found = minimize_scalar(
        loss, bounds=(float(GRID[0]), float(GRID[-1])), method="bounded", options={"xatol": 1e-6}
    )
    before = loss(0.0)
    temperature = round(math.exp(found.x), DECIMALS) if found.fun < before else 1.0
    return Fit(
        temperature=temperature,
        **_interval(truth, probabilities, groups),
        at_bound=bool(abs(math.log(temperature)) > GRID[-1] - 1e-3),
        records=len(truth),
        log_loss_before=before,
        log_loss_after=loss(math.log(temperature)),
    )


def _losses(truth: Truth, probabilities: AnyFloats, temperature: float) -> Any:
    """(records,) negative logarithm of the true class's probability."""
    chosen = scaled(probabilities, temperature)[np.arange(len(truth)), truth]
    return -np.log(np.maximum(chosen, SMALLEST_PROBABILITY))


def _interval(truth: Truth, probabilities: AnyFloats, groups: npt.NDArray[Any]) -> Interval:
    """Percentiles of the best temperature of the grid, over draws of groups."""
    names, group_of = np.unique(groups, return_inverse=True)
    losses = np.stack(
        [
            np.bincount(group_of, _losses(truth, probabilities, math.exp(step)), len(names))
            for step in GRID
        ]
    )
    times = np.concatenate([*BOOTSTRAP.weights(names)])
    return BOOTSTRAP.interval(np.exp(GRID[(times @ losses.T).argmin(axis=1)]))
