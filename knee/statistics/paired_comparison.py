"""Which of several predictors of the same records is better, and how sure that is.

All contenders are resampled together: a draw of whole groups (patients, pictures with their
copies) gives every contender's figure on the same records, so that what makes a draw easy or hard
for all of them drops out of the difference (paired bootstrap; Efron and Tibshirani 1993, An
Introduction to the Bootstrap, chapters 8 and 13). Two-sided p-values come from the share of draws
on the other side of zero, and are corrected for the number of comparisons by Holm's step-down
procedure (Holm 1979, Scandinavian Journal of Statistics 6:65-70).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from knee.statistics import bootstrap, scores
from knee.storage.arrays import Floats, Truth

SHOWN: Final = ("accuracy", "balanced_accuracy", "macro_f1")
MODEL: Final = "model"
SHORTCUT: Final = "shortcut"
FEWEST_GROUPS: Final = 2


@dataclasses.dataclass(frozen=True)
class Contender:
    """One predictor.

    Attributes:
        name: what it is called in tables.
        kind: a model; a shortcut, which needs no bone; or a simple probe of the same features.
        repeats: float (records, classes), one array a repeat of the cross-validation; guesses
            without probabilities are rows of 0 and 1.
    """

    name: str
    kind: Literal["model", "shortcut", "probe"]
    repeats: tuple[Floats, ...]


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How contenders are compared.

    Attributes:
        metric: of `scores.HEADLINE`, larger is better, by which differences are judged.
        draws: of the bootstrap.
        level: of the intervals, 0-1.
        seed: of the draws.
    """

    metric: str
    draws: int
    level: float
    seed: int

    @property
    def metrics(self) -> tuple[str, ...]:
        """All that are computed."""
        return tuple(dict.fromkeys((*SHOWN, self.metric)))


def guesses(class_indices: npt.NDArray[np.integer[Any]], classes: int) -> Floats:
    """Certain probabilities (records, classes) of guessed class indices (records,)."""
    certain: Floats = np.eye(classes)[class_indices]
    return certain


def compare(
    truth: Truth,
    groups: npt.NDArray[np.integer[Any]],
    contenders: Sequence[Contender],
    protocol: Protocol,
) -> dict[str, Any]:
    """Figures of each contender, and the difference of each pair that has a model in it.

    Args:
        truth: int (records,), class indices.
        groups: (records,) records with the same value are drawn together.
        contenders: predictions of the same records.
        protocol: how.

    Returns:
        records, groups; figures.<name>.{kind, <metric>.{value, low, high}};
        differences: list of {model, other, metric, difference, low, high, probability_better,
        p_value, p_corrected}, models first against baselines, then among each other. Values are
        None where they are not defined, as with a single group.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    drawn = [_figures(truth, one, _whole(len(truth)), protocol) for one in contenders]
    draws: list[dict[str, Floats]] = [
        {metric: np.zeros(0) for metric in protocol.metrics} for _ in contenders
    ]
    if len(names) >= FEWEST_GROUPS:
        parts = [
            [_figures(truth, one, weights, protocol) for one in contenders]
            for weights in bootstrap.draws_of_groups(
                group_of, len(names), protocol.draws, protocol.seed
            )
        ]
        draws = [
            {
                metric: np.concatenate([part[number][metric] for part in parts])
                for metric in protocol.metrics
            }
            for number in range(len(contenders))
        ]
    figures = {
        one.name: {
            "kind": one.kind,
            **{
                metric: _bounded(point[metric][0], sampled[metric], protocol.level)
                for metric in protocol.metrics
            },
        }
        for one, point, sampled in zip(contenders, drawn, draws, strict=True)
    }
    differences = [
        _difference(contenders, first, second, drawn, draws, protocol)
        for first, second in _pairs(contenders)
    ]
    corrected = holm([one["p_value"] for one in differences])
    for one, p_value in zip(differences, corrected, strict=True):
        one["p_corrected"] = p_value
    return {
        "records": len(truth),
        "groups": len(names),
        "figures": figures,
        "differences": differences,
    }


def best_shortcuts(part: Mapping[str, Any], metric: str, level: float) -> list[dict[str, Any]]:
    """Of each model, whether it is surely better than the best predictor that needs no bone.

    Args:
        part: what `compare` returns.
        metric: by which differences were judged.
        level: of the intervals, 0-1; a corrected p-value of at most 1 - level is significant.

    Returns:
        The row of `differences` against the shortcut with the largest figure, and significant:
        False, too, where the model is the worse one. Empty without a shortcut.
    """
    figures = part["figures"]
    shortcuts = [name for name, one in figures.items() if one["kind"] == SHORTCUT]
    if not shortcuts:
        return []
    best = max(shortcuts, key=lambda name: figures[name][metric]["value"] or 0)
    rows = [one for one in part["differences"] if one["other"] == best]
    return [{**one, "significant": _ahead(one, 1 - level)} for one in rows]


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for all that are not None: ordered, multiplied, made monotone."""
    known = sorted((value, place) for place, value in enumerate(p_values) if value is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (value, place) in enumerate(known):
        largest = max(largest, min(1.0, value * (len(known) - rank)))
        corrected[place] = round(largest, 6)
    return corrected


def _figures(
    truth: Truth, one: Contender, weights: Floats, protocol: Protocol
) -> dict[str, Floats]:
    """{metric: (draws,)}, mean over the repeats."""
    quick = set(protocol.metrics) <= set(bootstrap.OF_GUESSES)
    figures = bootstrap.weighted_figures_of_guesses if quick else bootstrap.weighted_figures
    found = [figures(truth, part, weights) for part in one.repeats]
    return {
        metric: np.mean([part[metric] for part in found], axis=0) for metric in protocol.metrics
    }


def _ahead(difference: Mapping[str, Any], most: float) -> bool:
    p_value = difference["p_corrected"]
    return p_value is not None and p_value <= most and difference["difference"] > 0


def _whole(records: int) -> Floats:
    return np.ones((1, records))


def _bounded(value: float, draws: Floats, level: float) -> dict[str, float | None]:
    defined = draws[~np.isnan(draws)]
    if not len(defined):
        return {"value": scores.known(value), "low": None, "high": None}
    low, high = np.quantile(defined, ((1 - level) / 2, (1 + level) / 2))
    return {
        "value": scores.known(value),
        "low": scores.known(low),
        "high": scores.known(high),
    }


def _pairs(contenders: Sequence[Contender]) -> list[tuple[int, int]]:
    """Positions: each model with each baseline, then each two models."""
    models = [number for number, one in enumerate(contenders) if one.kind == MODEL]
    others = [number for number, one in enumerate(contenders) if one.kind != MODEL]
    return [(model, other) for model in models for other in others] + [*combinations(models, 2)]


def _difference(
    contenders: Sequence[Contender],
    first: int,
    second: int,
    points: Sequence[dict[str, Floats]],
    draws: Sequence[dict[str, Floats]],
    protocol: Protocol,
) -> dict[str, Any]:
    metric = protocol.metric
    gaps = draws[first][metric] - draws[second][metric]
    gaps = gaps[~np.isnan(gaps)]
    value = points[first][metric][0] - points[second][metric][0]
    bounded = _bounded(value, gaps, protocol.level)
    return {
        "model": contenders[first].name,
        "other": contenders[second].name,
        "metric": metric,
        "difference": bounded["value"],
        "low": bounded["low"],
        "high": bounded["high"],
        "probability_better": round(float((gaps > 0).mean()), 6) if len(gaps) else None,
        "p_value": _two_sided(gaps),
    }


def _two_sided(gaps: Floats) -> float | None:
    """Never 0: as if one more draw had fallen on each side."""
    if not len(gaps):
        return None
    smaller = min((gaps <= 0).sum(), (gaps >= 0).sum())
    return round(min(1.0, 2 * float(smaller + 1) / (len(gaps) + 1)), 6)
