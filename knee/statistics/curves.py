"""Predictions -> the tables behind the plots, one table a plot, rounded to six decimals.

`truth`, `probabilities` and `class_names` are as in `scores`. A class that has no records, or all
of them, has no curve: it is absent from the tables of curves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.statistics import scores
from knee.storage.arrays import Probabilities, Truth

LARGEST_CURVE: Final = 200  # points a class
DECIMALS: Final = 6


def roc(truth: Truth, probabilities: Probabilities, class_names: Sequence[str]) -> pd.DataFrame:
    """Columns class, false_positive_rate, true_positive_rate; each class against the rest."""
    from sklearn.metrics import roc_curve

    columns = ("false_positive_rate", "true_positive_rate")
    tables = []
    for name, positive, chance in _one_against_rest(truth, probabilities, class_names):
        false_rate, true_rate, _ = roc_curve(positive, chance)
        tables.append(_curve(name, columns, (false_rate, true_rate)))
    return _joined(tables, columns)


def precision_recall(
    truth: Truth, probabilities: Probabilities, class_names: Sequence[str]
) -> pd.DataFrame:
    """Columns class, recall (rising), precision; each class against the rest."""
    from sklearn.metrics import precision_recall_curve

    columns = ("recall", "precision")
    tables = []
    for name, positive, chance in _one_against_rest(truth, probabilities, class_names):
        precision, recall, _ = precision_recall_curve(positive, chance, drop_intermediate=True)
        tables.append(_curve(name, columns, (recall[::-1], precision[::-1])))
    return _joined(tables, columns)


def reliability(truth: Truth, probabilities: Probabilities) -> pd.DataFrame:
    """Columns confidence (mean), accuracy, count of the bins of `scores` that hold a record."""
    chances = scores.checked(truth, probabilities)
    frame = pd.DataFrame(
        {
            "bin": scores.calibration_bins(chances.max(axis=1)),
            "confidence": chances.max(axis=1),
            "right": truth == chances.argmax(axis=1),
        }
    )
    bins = frame.groupby("bin", sort=True)
    table = bins.agg(
        confidence=("confidence", "mean"), accuracy=("right", "mean"), count=("right", "size")
    )
    return table.round(DECIMALS).reset_index(drop=True)


def confusion(
    truth: Truth, probabilities: Probabilities, class_names: Sequence[str]
) -> pd.DataFrame:
    """Columns actual, predicted: names, one row a record.

    Both are ordered categories of all `class_names`, so that a chart keeps the scale's order and
    shows classes without records.
    """
    scale = pd.CategoricalDtype(list(class_names), ordered=True)
    chosen = {"actual": truth, "predicted": probabilities.argmax(axis=1)}
    names = np.array(class_names, dtype=object)
    return pd.DataFrame({key: names[codes] for key, codes in chosen.items()}, dtype=scale)


def _one_against_rest(
    truth: Truth, probabilities: Probabilities, class_names: Sequence[str]
) -> Iterator[tuple[str, npt.NDArray[np.bool_], npt.NDArray[np.float64]]]:
    chances = scores.checked(truth, probabilities)
    for number, name in enumerate(class_names):
        positive = truth == number
        if positive.any() and not positive.all():
            yield str(name), positive, chances[:, number]


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
