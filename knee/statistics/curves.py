"""Predictions -> the tables behind the plots, one table a plot, rounded to six decimals.

A class that has no records, or all of them, has no curve: it is absent from the tables of curves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.statistics import scores
from knee.statistics.scores import Outcomes
from knee.storage.arrays import AnyFloats

LARGEST_CURVE: Final = 200  # points a class
DECIMALS: Final = 6


def roc(outcomes: Outcomes) -> pd.DataFrame:
    """Return columns class, false_positive_rate, true_positive_rate, by class against the rest."""
    from sklearn.metrics import roc_curve

    columns = ("false_positive_rate", "true_positive_rate")
    tables = []
    for name, positive, probability in _one_against_rest(outcomes):
        false_rate, true_rate, _ = roc_curve(positive, probability)
        tables.append(_curve(name, columns, (false_rate, true_rate)))
    return _joined(tables, columns)


def precision_recall(outcomes: Outcomes) -> pd.DataFrame:
    """Return columns class, recall (rising), precision, by class against the rest."""
    from sklearn.metrics import precision_recall_curve

    columns = ("recall", "precision")
    tables = []
    for name, positive, probability in _one_against_rest(outcomes):
        precision, recall, _ = precision_recall_curve(positive, probability, drop_intermediate=True)
        tables.append(_curve(name, columns, (recall[::-1], precision[::-1])))
    return _joined(tables, columns)


def reliability(outcomes: Outcomes) -> pd.DataFrame:
    """Return columns confidence (mean), accuracy, count of the bins that hold a record."""
    confidence = outcomes.probabilities.max(axis=1)
    frame = pd.DataFrame(
        {
            "bin": scores.calibration_bins(confidence),
            "confidence": confidence,
            "right": outcomes.truth == outcomes.probabilities.argmax(axis=1),
        }
    )
    bins = frame.groupby("bin", sort=True)
    table = bins.agg(
        confidence=("confidence", "mean"), accuracy=("right", "mean"), count=("right", "size")
    )
    return table.round(DECIMALS).reset_index(drop=True)


def confusion(outcomes: Outcomes) -> pd.DataFrame:
    """Return columns actual, predicted: names, one row a record.

    Both are ordered categories of all classes, so that a chart keeps the scale's order and
    shows classes without records.
    """
    scale = pd.CategoricalDtype(list(outcomes.classes), ordered=True)
    chosen = {"actual": outcomes.truth, "predicted": outcomes.probabilities.argmax(axis=1)}
    names = np.array(outcomes.classes, dtype=object)
    return pd.DataFrame({key: names[codes] for key, codes in chosen.items()}, dtype=scale)


def _one_against_rest(
    outcomes: Outcomes,
) -> Iterator[tuple[str, npt.NDArray[np.bool_], AnyFloats]]:
    """Name, which records are of the class, and its probabilities, of each class with a curve."""
    for number, name in enumerate(outcomes.classes):
        positive = outcomes.truth == number
        if positive.any() and not positive.all():
            yield str(name), positive, outcomes.probabilities[:, number]


def _curve(
    name: str, columns: tuple[str, str], values: tuple[npt.NDArray[Any], npt.NDArray[Any]]
) -> pd.DataFrame:
    """At most `LARGEST_CURVE` points, evenly along the curve's points, both ends kept."""
    points = len(values[0])
    kept = np.unique(np.linspace(0, points - 1, min(points, LARGEST_CURVE)).round().astype(int))
    table = pd.DataFrame(
        {column: value[kept] for column, value in zip(columns, values, strict=True)}
    )
    table = table.round(DECIMALS)
    table.insert(0, "class", name)
    return table


def _joined(tables: list[pd.DataFrame], columns: tuple[str, str]) -> pd.DataFrame:
    if not tables:
        return pd.DataFrame(columns=["class", *columns])
    return pd.concat(tables, ignore_index=True)
