"""Subgroups of the test subset: each with its own rows, and none of too few groups estimated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from knee.evidence.evaluation import t_score_errors
from knee.evidence.evaluation.subgroups import subgroups
from knee.statistics.bootstrap import Bootstrap
from knee.storage.arrays import Floats

BOOTSTRAP = Bootstrap(50, 0.9, 0)
SCALE = ("Normal", "Osteopenia", "Osteoporosis")


def test_rows_are_those_of_the_subgroup_and_groups_are_counted_not_images() -> None:
    number = np.arange(24)
    test = pd.DataFrame({"record": number[::-1], "group": number[::-1] // 2})
    test = test.assign(class_index=number % 2, probability_a=np.where(number % 2 == 0, 0.9, 0.2))
    test.loc[test["record"] >= 22, "probability_a"] = 0.6  # one of the two is wrong
    test = test.assign(probability_b=1 - test["probability_a"])
    records = pd.DataFrame({"record": number, "side": "", "origin": "site"})
    records["sex"] = np.where(number < 22, "F", "M")
    records["age_years"] = np.where(number < 12, 70.0, np.nan)
    found = subgroups(test, records, ["a", "b"], 6, BOOTSTRAP)
    assert [(one["name"], one["records"], one["groups"]) for one in found["estimated"]] == [
        ("sex F", 22, 11),
        ("origin site", 24, 12),
        ("age from 65", 12, 6),
    ]
    assert found["too_small"] == [{"name": "sex M", "records": 2, "groups": 1}]
    assert [one["accuracy"] for one in found["estimated"]] == [1, pytest.approx(23 / 24, 1e-5), 1]
    assert found["estimated"][1]["confidence_interval"]["accuracy"]["low"] < 23 / 24
    assert found["minimum_groups"] == 6
    nothing = records.assign(sex="", origin="", age_years=np.nan)
    assert subgroups(test, nothing, ["a", "b"], 6, BOOTSTRAP)["too_small"] == []


@pytest.mark.parametrize(
    ("t_score", "distances"),
    [(0.5, [0, 1.5, 3]), (-1.0, [0, 0, 1.5]), (-2.4, [1.4, 0, 0.1]), (-3.0, [2, 0.5, 0])],
)
def test_a_distance_is_to_the_range_of_the_class(t_score: float, distances: list[float]) -> None:
    found = t_score_errors.distances(np.full(3, t_score), np.arange(3))
    np.testing.assert_allclose(found, distances, atol=1e-12)


def predictions_of(t_scores: Floats, predicted: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    labels = ["Normal", "Normal", "Osteopenia", "Osteoporosis", "Osteopenia"]
    number = np.arange(5)
    test = pd.DataFrame({"record": number, "group": number, "label": labels})
    records = pd.DataFrame({"record": number[::-1], "t_score": t_scores[::-1]})
    return test.assign(predicted=predicted), records


def test_errors_are_of_films_whose_label_is_by_their_t_score() -> None:
    predicted = ["Normal", "Osteoporosis", "Normal", "Osteoporosis", "Normal"]
    test, records = predictions_of(np.array([0.0, -0.5, -1.2, -3.0, 0.4]), predicted)
    found = t_score_errors.t_score_errors(test, records, SCALE, BOOTSTRAP)
    assert found is not None
    assert (found["records"], found["groups"], found["contradicting"]) == (4, 4, 1)
    assert found["mean"] == pytest.approx((0 + 2 + 0.2 + 0) / 4)
    assert {name: one["mean"] for name, one in found["per_class"].items()} == {
        "Normal": 1.0,
        "Osteopenia": pytest.approx(0.2),
        "Osteoporosis": 0.0,
    }
    assert found["confidence_interval"]["mean"]["high"] > found["mean"]


@pytest.mark.parametrize("t_scores", [np.full(5, np.nan), np.array([-3.0, -3.0, 0, 0, 0])])
def test_classes_that_are_not_by_t_scores_have_no_such_error(t_scores: Floats) -> None:
    test, records = predictions_of(t_scores, ["Normal"] * 5)
    assert t_score_errors.t_score_errors(test, records, SCALE, BOOTSTRAP) is None
    assert t_score_errors.t_score_errors(test, records, ("a", "b"), BOOTSTRAP) is None
