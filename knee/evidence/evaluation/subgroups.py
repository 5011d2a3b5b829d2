"""Figures of the test subset within subgroups of patients and films, with their intervals.

A subgroup of few groups has an interval that says nothing, and a figure that people read all the
same: below a number of groups it is named and not estimated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from knee.evidence.evaluation import predictions
from knee.statistics.bootstrap import Bootstrap, only
from knee.storage.arrays import Integers

TEXTS: Final = (
    "sex",
    "side",
    "origin",
)  # the origin is a hospital, or the device that a film names
AGE_BANDS_YEARS: Final = (
    (0, 50, "age below 50"),
    (50, 65, "age 50 to 64"),
    (65, 200, "age from 65"),
)
FIGURES: Final = ("accuracy", "macro_f1")


def subgroups(
    test: pd.DataFrame,
    records: pd.DataFrame,
    class_names: Sequence[str],
    minimum_groups: int,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """Return the part `subgroups` of test.json.

    Args:
        test: test rows of predictions.csv.
        records: the records table, which tells sex, side, origin and age_years.
        class_names: of the predictions.
        minimum_groups: of patients, or of images with their copies, for an estimate.
        bootstrap: of the intervals.

    Returns:
        minimum_groups; estimated, a list of {name, records, groups, accuracy, macro_f1,
        confidence_interval}; too_small, a list of {name, records, groups}. A subgroup without
        test images is in neither.
    """
    found: dict[str, Any] = {"minimum_groups": minimum_groups, "estimated": [], "too_small": []}
    known = records.set_index("record").loc[test["record"], [*TEXTS, "age_years"]]
    for name, rows in _parts(known):
        part = test.iloc[rows]
        groups = int(part["group"].nunique())
        facts = {"name": name, "records": len(part), "groups": groups}
        if groups < minimum_groups:
            found["too_small"].append(facts)
        else:
            figures = bootstrap.figures(predictions.outcomes(part, class_names))
            found["estimated"].append({**facts, **only(figures, FIGURES)})
    return found


def _parts(known: pd.DataFrame) -> Iterator[tuple[str, Integers]]:
    """Name and positions of each subgroup that has rows."""
    for column in TEXTS:
        texts = known[column].astype(str)
        for value in sorted(set(texts) - {""}):
            yield f"{column} {value}", np.flatnonzero(texts == value)
    ages = known["age_years"].to_numpy(np.float64)
    for low, high, name in AGE_BANDS_YEARS:
        if len(rows := np.flatnonzero((ages >= low) & (ages < high))):
            yield name, rows
