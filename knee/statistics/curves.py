"""The tables behind the plots of predictions, one table a plot, rounded to six decimals.

A class that has no records, or all of them, has no curve: it is absent from the tables of curves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.statistics import scores
from knee.statistics.scores import Outcomes

Values = npt.NDArray[Any]

LARGEST_CURVE: Final = 200  # points a class
DECIMALS: Final = 6


def roc(outcomes: Outcomes) -> pd.DataFrame:
    """Return columns class, false_positive_rate, true_positive_rate, by class against the rest."""
    from sklearn.metrics import roc_curve

    return _curves(outcomes, "false_positive_rate", "true_positive_rate", roc_curve)


def precision_recall(outcomes: Outcomes) -> pd.DataFrame:
    """Return columns class, recall (rising), precision, by class against the rest."""
    from sklearn.metrics import precision_recall_curve

    def falling(positive: Values, probability: Values) -> tuple[Values, Values]:
        precision, recall, _ = precision_recall_curve(positive, probability, drop_intermediate=True)
        return recall[::-1], precision[::-1]

    return _curves(outcomes, "recall", "precision", falling)


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


def _curves(
    outcomes: Outcomes, x: str, y: str, curve: Callable[[Values, Values], Sequence[Values]]
) -> pd.DataFrame:
    """Columns class, `x`, `y`: at most `LARGEST_CURVE` points a class, both ends kept."""
    tables = [pd.DataFrame(columns=["class", x, y])]
    for number, name in enumerate(outcomes.classes):
        positive = outcomes.truth == number
        if positive.any() and not positive.all():
            values = curve(positive, outcomes.probabilities[:, number])
            points = len(values[0])
            evenly = np.linspace(0, points - 1, min(points, LARGEST_CURVE))
            kept = np.unique(evenly.round().astype(int))
            table = pd.DataFrame({x: values[0][kept], y: values[1][kept]}).round(DECIMALS)
            table.insert(0, "class", str(name))
            tables.append(table)
    return pd.concat(tables[1:] or tables, ignore_index=True)
