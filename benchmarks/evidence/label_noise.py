"""How wrong the labels are: confident learning, and pictures that were labelled more than once.

Confident learning: Northcutt, Jiang and Chuang 2021, https://doi.org/10.1613/jair.1.12125. It takes
a model's confident contradictions for wrong labels; a weak model is confidently wrong itself, so
its figure is rather too high. Two labels of one picture need no model, but are seldom independent
readings, so their figure is rather too low.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from knee.statistics.bootstrap import Bootstrap
from knee.storage.arrays import AnyFloats, Integers

LEVEL = 0.95  # of the intervals


def joint(labels: Integers, chances: AnyFloats, weights: AnyFloats) -> AnyFloats:
    """(given label, true class) shares that sum to 1: the calibrated confident joint.

    A record counts as of the class that exceeds its threshold most surely; the threshold of a
    class is the mean probability that the records labelled so are given.

    Args:
        labels: int (records,).
        chances: (records, classes), out of fold.
        weights: (records,) how often each counts.
    """
    classes = chances.shape[1]
    given = np.eye(classes)[labels] * weights[:, None]
    totals = given.sum(axis=0)
    thresholds = (given * chances).sum(axis=0) / np.maximum(totals, 1e-12)
    above = np.where(chances >= thresholds, chances, -1)
    sure = above.max(axis=1) >= 0
    counts = given[sure].T @ np.eye(classes)[above[sure].argmax(axis=1)]
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.where(rows > 0, counts / np.maximum(rows, 1e-12), np.eye(classes))
    return np.asarray(shares * totals[:, None] / totals.sum())


def confident_learning(
    labels: Integers, repeats: Sequence[AnyFloats], groups: Integers, draws: int, seed: int
) -> dict[str, Any]:
    """Share of wrong labels with its interval over groups, and the joint; mean over `repeats`."""

    def wrong(weights: AnyFloats) -> float:
        return float(np.mean([1 - np.trace(joint(labels, one, weights)) for one in repeats]))

    mean = np.mean([joint(labels, one, np.ones(len(labels))) for one in repeats], axis=0)
    return {
        "share_wrong": _bounded(wrong, groups, draws, seed),
        "joint": np.round(mean, 4).tolist(),  # rows: given label; columns: estimated true class
    }


def second_readings(films: pd.DataFrame, classes: int, draws: int, seed: int) -> dict[str, Any]:
    """What the pictures tell that stand in two collections, a label in each.

    Args:
        films: picture, origin and class_index of the films that are no copies by name; quarantined
            ones too.
        classes: how many there are.
        draws: of the bootstrap over pictures.
        seed: of the draws.
    """
    tables = _label_shares(films, classes)
    if tables is None:
        return {"pictures": 0}
    first, second = tables

    def agreement(weights: AnyFloats) -> float:
        return float((weights * (first * second).sum(axis=1)).sum() / weights.sum())

    def right(weights: AnyFloats) -> float:
        return reliability(agreement(weights), classes)

    pictures = np.arange(len(first))
    pairs = first.T @ second
    symmetric = (pairs + pairs.T) / 2
    return {
        "pictures": len(first),
        "agreement": _bounded(agreement, pictures, draws, seed),
        "label_right": _bounded(right, pictures, draws, seed),
        "pairs": np.round(symmetric / symmetric.sum(), 4).tolist(),
        "macro_f1_of_one_against_the_other": round(_macro_f1(symmetric), 4),
    }


def reliability(agreement: float, classes: int) -> float:
    """Chance that one label is right if two independent ones agree so often; errors are uniform.

    agreement = right ** 2 + (1 - right) ** 2 / (classes - 1), solved for its larger root.
    """
    others = classes - 1
    root = max(1 - (1 + others) * (1 - others * agreement), 0.0)
    return float(min((1 + np.sqrt(root)) / (1 + others), 1.0))


def ceiling(right: float, agreement: float, counts: Integers, twice: float) -> dict[str, float]:
    """Expected figures of a reader who knows the truth, judged by such labels.

    Args:
        right: chance that one label is right.
        agreement: chance that two labels agree.
        counts: (classes,) records of each label.
        twice: share of the records with two agreeing labels, of which no more can be wrong than
            where both are.
    """
    both = min(right**2 / max(agreement, 1e-12), 1.0)
    known = twice * both + (1 - twice) * right
    others = (1 - known) / (len(counts) - 1)
    said = counts * known + (counts.sum() - counts) * others
    f1 = 2 * counts * known / (counts + said)
    return {"accuracy": round(known, 4), "macro_f1": round(float(f1.mean()), 4)}


def _label_shares(films: pd.DataFrame, classes: int) -> tuple[AnyFloats, AnyFloats] | None:
    """(pictures, classes) of the two largest collections: how a picture's films are labelled."""
    origins = films.loc[films["origin"] != "", "origin"].value_counts().index[:2]
    if len(origins) < 2:
        return None
    tables = [
        pd.crosstab(part["picture"], part["class_index"]).reindex(columns=range(classes))
        for part in (films[films["origin"] == one] for one in origins)
    ]
    shared = tables[0].index.intersection(tables[1].index)
    if shared.empty:
        return None
    counts = [one.loc[shared].fillna(0).to_numpy(np.float64) for one in tables]
    first, second = (one / one.sum(axis=1, keepdims=True) for one in counts)
    return first, second


def _macro_f1(pairs: AnyFloats) -> float:
    rows, columns = pairs.sum(axis=1), pairs.sum(axis=0)
    present = rows + columns > 0
    return float((2 * np.diag(pairs)[present] / (rows + columns)[present]).mean())


def _bounded(
    figure: Callable[[AnyFloats], float], groups: Integers, draws: int, seed: int
) -> dict[str, float]:
    drawn = np.concatenate([*Bootstrap(draws, LEVEL, seed).weights(groups)])
    values = [figure(weights) for weights in drawn]
    low, high = (float(end) for end in np.quantile(values, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)))
    value = figure(np.ones(len(groups)))
    return {"value": round(value, 4), "low": round(low, 4), "high": round(high, 4)}
