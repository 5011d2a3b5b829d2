"""Errors in units of the T-score, where the classes are the WHO's and T-scores are known.

A film with a T-score of -2.4 that is called osteoporotic is a smaller mistake than one with -1.1,
though both are one class off. The error of a prediction is the distance, in standard deviations of
young adults, from the film's T-score to the range of the predicted class: 0 where it is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.records.records_table import NORMAL_T_SCORE, OSTEOPOROSIS_T_SCORE, who_class
from knee.statistics.bootstrap import Bootstrap
from knee.statistics.scores import known
from knee.storage.arrays import Floats, Integers

CLASSES: Final = 3  # normal, osteopenia, osteoporosis
MOSTLY: Final = 0.5  # share of labels that fit their T-score, for the classes to be the WHO's


def t_score_errors(
    test: pd.DataFrame, records: pd.DataFrame, class_names: Sequence[str], bootstrap: Bootstrap
) -> dict[str, Any] | None:
    """Return the part `t_score_error` of test.json; None where classes are not by T-scores.

    Args:
        test: test rows of predictions.csv.
        records: the records table, which tells t_score.
        class_names: of the scale, in order.
        bootstrap: of the intervals.

    Returns:
        records and groups whose label fits a known T-score; contradicting, the records whose label
        does not, which are left out; mean and its confidence_interval; per_class.<label> with
        records, mean and confidence_interval. All in units of the T-score.
    """
    values = records.set_index("record").loc[test["record"], "t_score"].to_numpy(np.float64)
    told = ~np.isnan(values)
    if len(class_names) != CLASSES or not told.any():
        return None
    fits = np.array([who_class(one, class_names) for one in values]) == test["label"].to_numpy()
    if fits[told].mean() < MOSTLY:
        return None
    rows = np.flatnonzero(told & fits)
    places = [list(class_names).index(name) for name in test["predicted"]]
    errors = distances(values, np.array(places, np.int64))
    groups, labels = test["group"].to_numpy(), test["label"].to_numpy()

    def figures(chosen: npt.NDArray[np.intp]) -> dict[str, Any]:
        return {
            "records": len(chosen),
            "groups": len(np.unique(groups[chosen])),
            "mean": known(float(errors[chosen].mean())),
            "confidence_interval": {
                "mean": bootstrap.mean_interval(errors[chosen], groups[chosen])
            },
        }

    of_class = {name: rows[labels[rows] == name] for name in class_names}
    return {
        **figures(rows),
        "contradicting": int((told & ~fits).sum()),
        "per_class": {name: figures(chosen) for name, chosen in of_class.items() if len(chosen)},
    }


def distances(t_scores: npt.NDArray[np.float64], classes: Integers) -> Floats:
    """Return (records,) how far each T-score lies outside the range of a class, >= 0.

    `classes` are 0 normal, 1 osteopenia, 2 osteoporosis.
    """
    low = np.array([NORMAL_T_SCORE, OSTEOPOROSIS_T_SCORE, -np.inf])[classes]
    high = np.array([np.inf, NORMAL_T_SCORE, OSTEOPOROSIS_T_SCORE])[classes]
    return np.asarray(np.maximum(np.maximum(low - t_scores, t_scores - high), 0.0))
