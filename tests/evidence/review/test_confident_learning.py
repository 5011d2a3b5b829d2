"""Confident learning: an example by hand, planted label errors, and what is no evidence."""

from __future__ import annotations

import numpy as np
import pandas as pd

from knee.evidence.review import confident_learning
from knee.evidence.review.confident_learning import NOT_SUSPECTED


def test_what_is_suspected_is_what_the_method_says_by_hand() -> None:
    """Thresholds are 0.6 and 0.7: the third is confidently 1, the sixth confidently nothing."""
    labels = np.array([0, 0, 0, 1, 1, 1])
    first = np.array([0.9, 0.7, 0.2, 0.1, 0.3, 0.5])
    found = confident_learning.suspicions(labels, np.column_stack([first, 1 - first]))
    assert found.suggested.tolist() == [-1, -1, 1, -1, -1, -1]
    assert found.ranked().tolist() == [2]
    np.testing.assert_allclose(found.margin, [0.8, 0.4, -0.6, 0.8, 0.4, 0.0])


def test_planted_label_errors_are_found_and_nothing_else() -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, 300)
    probabilities = generator.dirichlet(np.ones(3), 300) * 0.4
    probabilities[np.arange(300), truth] += 0.6
    labels = truth.copy()
    labels[:30] = (labels[:30] + 1) % 3
    found = confident_learning.suspicions(labels, probabilities)
    rows = found.ranked()
    assert set(rows) <= set(range(30))
    assert len(rows) >= 15  # of the others the model is less sure than of most
    np.testing.assert_array_equal(found.suggested[rows], truth[rows])
    assert (np.diff(found.margin[rows]) >= 0).all()


def test_a_class_of_which_a_model_is_never_sure_is_not_suspected_for_it() -> None:
    labels = np.array([0] * 10 + [1] * 10)
    unsure = np.tile([0.6, 0.4], (20, 1))  # the same for all: nothing is learned
    assert (confident_learning.suspicions(labels, unsure).margin[10:] < 0).all()
    unsure[10:] = [0.55, 0.45]
    found = confident_learning.suspicions(labels, unsure)
    assert (found.suggested == NOT_SUSPECTED).all()


def test_a_class_without_records_is_never_suggested() -> None:
    labels = np.array([0, 0, 1])
    found = confident_learning.suspicions(labels, np.array([[0.1, 0.1, 0.8]] * 3))
    assert not (found.suggested == 2).any()


def test_models_and_repeats_weigh_alike() -> None:
    def table(records: list[int], of_a: list[float]) -> pd.DataFrame:
        values = {"record": records, "class_index": 0, "probability_a": of_a}
        return pd.DataFrame(values).assign(probability_b=lambda one: 1 - one["probability_a"])

    one, other = table([1, 1, 0], [0.2, 0.4, 1.0]), table([0, 1], [0.5, 0.9])
    found = confident_learning.mean_predictions([one, other], ["a", "b"])
    assert found["record"].tolist() == [0, 1]
    np.testing.assert_allclose(found["probability_a"], [0.75, 0.6])
