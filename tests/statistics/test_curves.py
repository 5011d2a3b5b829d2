"""The tables behind the plots."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from knee.statistics import curves, scores
from knee.statistics.scores import Outcomes

NAMES = ("Normal", "Osteopenia", "Osteoporosis")


def of(truth: npt.NDArray[np.int64], chances: npt.NDArray[np.floating[Any]]) -> Outcomes:
    return Outcomes(truth, chances, np.arange(len(truth)), NAMES)


def case(rows: int = 1000, seed: int = 0) -> Outcomes:
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 3, rows)
    chances = generator.dirichlet(np.ones(3), rows) + 0.5 * np.eye(3)[truth]
    return of(truth, chances / chances.sum(axis=1, keepdims=True))


def area(table: pd.DataFrame, name: str, x: str, y: str) -> float:
    one = table[table["class"] == name]
    return float(np.trapezoid(one[y], one[x]))


def test_the_area_under_the_thinned_roc_curves_is_the_auc() -> None:
    known = case()
    table = curves.roc(known)
    areas = [area(table, n, "false_positive_rate", "true_positive_rate") for n in NAMES]
    assert np.mean(areas) == pytest.approx(
        scores.metric("macro_auc")(known.truth, known.probabilities), abs=1e-3
    )


@pytest.mark.parametrize("make", [curves.roc, curves.precision_recall])
def test_every_curve_has_few_points_and_keeps_its_ends(make: object) -> None:
    assert callable(make)
    table = make(case())
    assert list(table["class"].unique()) == list(NAMES)
    for _, curve in table.groupby("class"):
        assert len(curve) <= 200
        x = curve.iloc[:, 1]
        assert (x.iloc[0], x.iloc[-1]) == (0.0, 1.0)
        assert x.is_monotonic_increasing


def test_precision_at_full_recall_is_at_least_the_class_share() -> None:
    known = case()
    table = curves.precision_recall(known)
    last = table.groupby("class").tail(1).set_index("class")["precision"]
    for number, name in enumerate(NAMES):
        assert last[name] >= np.mean(known.truth == number) - 1e-6


@pytest.mark.parametrize("make", [curves.roc, curves.precision_recall])
def test_a_class_without_records_has_no_curve(make: object) -> None:
    assert callable(make)
    known = case(50)
    without = make(of(np.where(known.truth == 1, 0, known.truth), known.probabilities))
    assert list(without["class"].unique()) == ["Normal", "Osteoporosis"]
    alone = make(of(np.zeros(50, np.int64), known.probabilities))
    assert alone.empty
    assert list(alone.columns) == list(without.columns)


def test_the_reliability_table_holds_the_calibration_error() -> None:
    known = case()
    table = curves.reliability(known)
    assert table["count"].sum() == len(known.truth)
    assert len(table) <= scores.CALIBRATION_BINS
    gaps = (table["confidence"] - table["accuracy"]).abs() * table["count"]
    expected = scores.metric("expected_calibration_error")(known.truth, known.probabilities)
    assert gaps.sum() / len(known.truth) == pytest.approx(expected, abs=1e-5)


def test_the_confusion_table_has_one_row_a_record_in_their_order() -> None:
    known = case(40)
    table = curves.confusion(known)
    assert table["actual"].tolist() == [NAMES[number] for number in known.truth]
    assert table["predicted"].tolist() == [
        NAMES[number] for number in known.probabilities.argmax(axis=1)
    ]


def test_the_confusion_table_knows_the_scale_and_absent_classes() -> None:
    names = ("severe", "mild", "absent")
    table = curves.confusion(Outcomes(np.array([0, 1]), np.eye(3)[[1, 0]], np.arange(2), names))
    for column in ("actual", "predicted"):
        assert list(table[column].cat.categories) == list(names)
        assert table[column].cat.ordered
