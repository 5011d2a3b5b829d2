"""Figures of predictions, by hand and by property."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.speed import straightforward
from knee.statistics import scores
from tests.statistics import reference

NAMES = ("Normal", "Osteopenia", "Osteoporosis")
# Predicted 0, 1, 1, 2, 0; the second and the last are wrong.
TRUTH = np.array([0, 0, 1, 2, 2])
CHANCES = np.array(
    [[0.8, 0.1, 0.1], [0.3, 0.5, 0.2], [0.2, 0.7, 0.1], [0.0, 0.1, 0.9], [0.5, 0.1, 0.4]]
)


def random_case(seed: int, rows: int = 30) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 3, rows), generator.dirichlet(np.ones(3), rows)


def score(
    truth: npt.NDArray[np.int64], chances: npt.NDArray[Any], names: Sequence[str]
) -> dict[str, Any]:
    return scores.score(scores.Outcomes(truth, chances, np.arange(len(truth)), names))


def certain(classes: list[int]) -> npt.NDArray[np.float64]:
    """Probabilities that are all of these classes, of three."""
    return scores.certain(np.array(classes), 3)


@given(st.integers(0, 99), st.integers(1, 5))
def test_confusion_counts_are_the_weights_of_each_cell(seed: int, classes: int) -> None:
    generator = np.random.default_rng(seed)
    truth, predicted = generator.integers(0, classes, (2, 40))
    weights = generator.integers(0, 4, (6, 40)).astype(np.float64)
    counts = scores.confusion(truth, predicted, weights, classes)
    expected = straightforward.confusion(truth, predicted, weights, classes)
    assert counts.dtype == expected.dtype
    np.testing.assert_array_equal(counts, expected)


def test_figures_are_those_computed_by_hand() -> None:
    figures = score(TRUTH, CHANCES, NAMES)
    assert figures["accuracy"] == 0.6
    assert figures["balanced_accuracy"] == round((0.5 + 1 + 0.5) / 3, 6)
    assert figures["macro_f1"] == round((2 / 4 + 2 / 3 + 2 / 3) / 3, 6)
    assert figures["weighted_f1"] == round((2 * 2 / 4 + 2 / 3 + 2 * 2 / 3) / 5, 6)
    # Disagreement 1 + 4 observed; by chance (2 * (2 + 4) + (2 + 1) + 2 * (4 * 2 + 2)) / 5.
    assert figures["quadratic_kappa"] == round(1 - 5 / (35 / 5), 6)
    # Pairs won, class by class: 5 of 6, 4 of 4, 6 of 6.
    assert figures["macro_auc"] == round((5 / 6 + 1 + 1) / 3, 6)
    chances = [0.8, 0.3, 0.7, 0.9, 0.4]
    assert figures["log_loss"] == round(-sum(map(math.log, chances)) / 5, 6)
    # The two records of confidence 0.5 share a bin; both are wrong.
    gaps = [abs(0.8 - 1), abs(1.0 - 0), abs(0.7 - 1), abs(0.9 - 1)]
    assert figures["expected_calibration_error"] == round(sum(gaps) / 5, 6)
    assert figures["per_class"]["Normal"] == {
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
        "support": 2,
    }


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 40), classes=st.integers(2, 5))
@settings(max_examples=40, deadline=None)
def test_figures_are_those_of_scikit_learn(seed: int, rows: int, classes: int) -> None:
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, rows)
    chances = generator.dirichlet(np.ones(classes), rows).round(1) + 0.05  # with ties
    chances /= chances.sum(axis=1, keepdims=True)
    found = score(truth, chances, [str(number) for number in range(classes)])
    for name, expected in reference.figures(truth, chances).items():
        assert found[name] == (None if math.isnan(expected) else pytest.approx(expected, abs=1e-6))
    for number, one in enumerate(found["per_class"].values()):
        values = [np.nan if value is None else value for value in one.values()]
        expected_values = reference.per_class(truth, chances)[:, number]
        np.testing.assert_allclose(values, expected_values, atol=1e-6)


def test_only_the_headline_figures_and_the_classes_are_in_a_score() -> None:
    figures = score(TRUTH, CHANCES, NAMES)
    assert tuple(figures) == (*scores.HEADLINE, "per_class")
    assert tuple(figures["per_class"]) == NAMES


def test_a_perfect_and_certain_model_has_the_best_of_every_figure() -> None:
    figures = score(TRUTH, certain([0, 0, 1, 2, 2]), NAMES)
    assert [figures[name] for name in scores.LARGER_IS_BETTER] == [1.0] * 9
    assert figures["log_loss"] == figures["expected_calibration_error"] == 0


def test_a_class_without_records_is_null_and_does_not_count_in_means() -> None:
    truth, chances = TRUTH[:3], CHANCES[:3]
    figures = score(truth, chances, NAMES)
    absent = {"precision": None, "recall": None, "f1": None, "support": 0}
    assert figures["per_class"]["Osteoporosis"] == absent
    assert figures["balanced_accuracy"] == 0.75
    assert figures["macro_f1"] == round(2 / 3, 6)
    assert figures["macro_auc"] == 1.0
    json.dumps(figures, allow_nan=False)


def test_a_class_without_records_that_is_predicted_lowers_the_mean_f1() -> None:
    figures = score(np.array([0, 1]), certain([0, 2]), NAMES)
    assert figures["per_class"]["Osteoporosis"] == {
        "precision": 0.0,
        "recall": None,
        "f1": 0.0,
        "support": 0,
    }
    assert figures["macro_f1"] == round(1 / 3, 6)


def test_a_class_that_is_never_predicted_has_no_precision_but_a_recall_of_zero() -> None:
    figures = score(TRUTH, certain([0, 0, 0, 2, 2]), NAMES)
    found = figures["per_class"]["Osteopenia"]
    assert (found["precision"], found["recall"], found["f1"]) == (None, 0.0, 0.0)


def test_one_class_alone_has_neither_kappa_nor_auc() -> None:
    figures = score(np.zeros(3, np.int64), certain([0, 0, 0]), NAMES)
    assert figures["quadratic_kappa"] is None
    assert figures["macro_auc"] is None
    assert figures["accuracy"] == 1.0


def test_kappa_counts_an_absent_class_between_two_others_as_a_step() -> None:
    """A grade that the test lacks is a grade all the same."""
    truth = np.array([0, 0, 2, 2, 1])
    near = scores.metric("quadratic_kappa")(truth, certain([0, 1, 2, 2, 1]))
    far = scores.metric("quadratic_kappa")(truth, certain([0, 2, 2, 2, 1]))
    assert near > far
    without = scores.metric("quadratic_kappa")(np.array([0, 0, 2, 2]), certain([0, 0, 2, 1]))
    assert without == pytest.approx(1 - 1 / ((2 * (4 + 1) + 2 * (8 + 1)) / 4))


def test_the_expected_class_lies_between_two_likely_ends() -> None:
    ends, half = [0.45, 0.1, 0.45], [0.5, 0.5, 0.0]
    assert scores.expected_class(np.array([ends, half, [0.0, 0.4, 0.6]])).tolist() == [1, 1, 2]
    truth = np.array([0, 1, 2])
    chances = np.array([[0.8, 0.1, 0.1], ends, [0.1, 0.1, 0.8]])
    assert scores.metric("expected_class_kappa")(truth, chances) == 1
    assert scores.metric("quadratic_kappa")(truth, chances) < 1


def test_the_median_class_is_where_half_of_the_probability_is_reached() -> None:
    ends, half, late = [0.45, 0.1, 0.45], [0.5, 0.0, 0.5], [0.1, 0.2, 0.7]
    assert scores.median_class(np.array([ends, half, late])).tolist() == [1, 0, 2]
    truth = np.array([0, 1, 2])
    chances = np.array([[0.8, 0.1, 0.1], ends, [0.1, 0.1, 0.8]])
    assert scores.metric("median_class_kappa")(truth, chances) == 1
    assert scores.metric("median_class_accuracy")(truth, chances) == 1
    assert scores.metric("accuracy")(truth, chances) < 1


def test_the_median_class_errs_by_the_fewest_steps() -> None:
    chances = np.random.default_rng(0).dirichlet([0.5] * 5, 300)
    steps = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    np.testing.assert_array_equal(scores.median_class(chances), (chances @ steps).argmin(axis=1))


def test_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    edges = np.array([1 / 15, 1 / 15 + 1e-9, 1.0, 0.5])
    assert scores.calibration_bins(edges).tolist() == [0, 1, 14, 7]


def test_a_model_as_right_as_it_is_sure_has_no_calibration_error() -> None:
    truth = np.array([0] * 7 + [1] * 3)
    chances = np.tile([0.7, 0.3], (10, 1))
    assert scores.metric("expected_calibration_error")(truth, chances) == pytest.approx(0)


@pytest.mark.parametrize("name", scores.HEADLINE)
def test_a_metric_is_the_figure_of_that_name(name: str) -> None:
    truth, chances = random_case(0)
    found = scores.metric(name)(truth, chances)
    assert round(found, 6) == score(truth, chances, NAMES)[name]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), order=st.permutations(range(30)))
def test_the_order_of_records_does_not_matter(seed: int, order: list[int]) -> None:
    truth, chances = random_case(seed)
    one, other = (
        score(truth[rows], chances[rows], NAMES) for rows in (np.arange(30), np.array(order))
    )
    for name in scores.HEADLINE:
        assert one[name] == pytest.approx(other[name], abs=2e-6)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999))
def test_every_record_twice_changes_no_figure(seed: int) -> None:
    truth, chances = random_case(seed)
    one = score(truth, chances, NAMES)
    twice = score(np.tile(truth, 2), np.tile(chances, (2, 1)), NAMES)
    for name in scores.HEADLINE:
        assert one[name] == pytest.approx(twice[name], abs=2e-6)


def test_probabilities_of_single_precision_are_accepted() -> None:
    truth, chances = random_case(1)
    single = chances.astype(np.float32)
    assert score(truth, single, NAMES)["accuracy"] is not None


@pytest.mark.parametrize(
    ("truth", "chances", "message"),
    [
        ([], np.zeros((0, 3)), "0 records"),
        ([0], CHANCES[:2], "1 records and probabilities of shape"),
        ([0, 3], CHANCES[:2], "outside 0-2"),
        ([-1, 0], CHANCES[:2], "outside 0-2"),
        ([0], [[np.nan, 0.5, 0.5]], "NaN"),
        ([0], [[0.5, 0.5, 0.5]], "does not sum to 1"),
        ([0], [[1.5, -0.5, 0.0]], "negative"),
        ([0], [[0.5, 0.5]], "2 probabilities a record, 3 class names"),
    ],
)
def test_what_cannot_be_scored_is_refused(truth: list[int], chances: Any, message: str) -> None:
    with pytest.raises(scores.ScoreError, match=message):
        score(np.array(truth, np.int64), np.array(chances), NAMES)


def test_groups_of_another_length_are_refused() -> None:
    with pytest.raises(scores.ScoreError, match="5 records and 4 groups"):
        scores.Outcomes(TRUTH, CHANCES, np.arange(4), NAMES)


def test_an_unknown_metric_is_refused_by_name() -> None:
    with pytest.raises(scores.ScoreError, match="'brier' is none of accuracy"):
        scores.metric("brier")


def test_errors_are_not_among_the_metrics_where_larger_is_better() -> None:
    assert set(scores.HEADLINE) - set(scores.LARGER_IS_BETTER) == {
        "log_loss",
        "expected_calibration_error",
    }
