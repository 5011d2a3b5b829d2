"""Figures of the test images within groups of sex, age, side and origin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from knee.evidence.evaluation import predictions
from knee.statistics.bootstrap import Bootstrap, only

AGE_BANDS: Final = ((0, 50, "age below 50"), (50, 65, "age 50 to 64"), (65, 200, "age from 65"))
FEWEST_RECORDS: Final = 5
SHOWN: Final = ("accuracy", "macro_f1")
TEXTS: Final = ("sex", "side", "origin")


def figures(
    test: pd.DataFrame, records: pd.DataFrame, class_names: Sequence[str], bootstrap: Bootstrap
) -> list[dict[str, Any]]:
    """Return one row a group with images enough: name, records, accuracy, macro_f1, intervals.

    Args:
        test: test rows of predictions.csv.
        records: the records table, which knows sex, age_years, side and origin.
        class_names: in the order of the probabilities.
        bootstrap: of the intervals.
    """
    known = records[["record", *TEXTS, "age_years"]]
    joined = test.drop(columns=list(TEXTS), errors="ignore").merge(known, on="record")
    found = []
    for name, rows in _groups(joined):
        part = joined[rows]
        if len(part) >= FEWEST_RECORDS:
            judged = bootstrap.figures(predictions.outcomes(part, class_names))
            found.append({"name": name, "records": len(part), **only(judged, SHOWN)})
    return found


def _groups(joined: pd.DataFrame) -> list[tuple[str, Any]]:
    groups: list[tuple[str, Any]] = []
    for column in TEXTS:
        texts = joined[column].fillna("").astype(str)
        groups += [(f"{column} {value}", texts == value) for value in sorted(set(texts) - {""})]
    ages = pd.to_numeric(joined["age_years"], errors="coerce").to_numpy(np.float64)
    groups += [(name, (ages >= low) & (ages < high)) for low, high, name in AGE_BANDS]
    return groups
