"""Learning curves: subsets keep the classes, a planted law is found again."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.evidence import learning_curve, probes
from knee.splits.cross_validation import Fold


def test_each_start_of_the_order_has_the_shares_of_the_classes_and_whole_groups() -> None:
    groups = np.repeat(np.arange(60), 2)
    labels = np.repeat(np.array([0] * 30 + [1] * 20 + [2] * 10), 2)
    rows = learning_curve.ordered(labels, groups, np.arange(120), seed=1)
    assert sorted(rows) == list(range(120))
    np.testing.assert_allclose(np.bincount(labels[rows[:24]]) / 24, [1 / 2, 1 / 3, 1 / 6], atol=0.1)
    np.testing.assert_array_equal(groups[rows[::2]], groups[rows[1::2]])
    other = learning_curve.ordered(labels, groups, np.arange(120), seed=2)
    assert rows.tolist() != other.tolist()


def test_no_picture_is_predicted_by_a_probe_that_was_trained_on_more_than_asked() -> None:
    labels = np.arange(40) % 2
    features = np.random.default_rng(0).normal(size=(40, 3)) + 6 * labels[:, None]
    held = [np.arange(20), np.arange(20, 40)]
    folds = [Fold(0, number, held[1 - number], held[0][:0], held[number]) for number in (0, 1)]
    (made,) = learning_curve.out_of_fold(features, labels, np.arange(40), folds, size=6)
    assert (made.argmax(axis=1) == labels).mean() > 0.9
    np.testing.assert_allclose(made.sum(axis=1), 1)
    features[:20] *= np.nan  # fold 1 is trained on these, so nothing but fold 0 can be predicted
    with pytest.raises((ValueError, np.linalg.LinAlgError)):
        learning_curve.out_of_fold(features, labels, np.arange(40), folds, size=6)


def test_a_planted_power_law_is_found_with_the_pictures_that_it_needs() -> None:
    sizes = np.array([40, 60, 90, 130, 200, 300])
    curves = np.stack([0.9 - 0.8 * sizes**-0.5, 0.75 - 2.0 * sizes**-1.0])
    law = learning_curve.fit(sizes, curves)
    np.testing.assert_allclose(law.level, [0.9, 0.75], atol=0.01)
    needed = law.needed(0.8)
    assert needed[0] == pytest.approx(64, rel=0.05)
    assert np.isinf(needed[1])


def test_a_flat_or_falling_curve_never_gets_there_and_no_level_is_above_one() -> None:
    sizes = np.array([40, 80, 160, 320])
    law = learning_curve.fit(
        sizes, np.array([[0.7] * 4, [0.7, 0.69, 0.68, 0.67], [0.6, 0.7, 0.8, 0.9]])
    )
    assert np.isinf(law.needed(0.8)[:2]).all()
    assert law.level.max() <= 1
    assert 160 * 0.8 < law.needed(0.8)[2] < 160 * 1.2


def test_turning_features_into_the_span_of_the_training_rows_changes_no_prediction() -> None:
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(0)
    train, test = generator.normal(size=(20, 50)), generator.normal(size=(7, 50))
    labels = np.arange(20) % 3
    spread, mean = train.std(axis=0), train.mean(axis=0)
    model = LogisticRegression(C=0.01, class_weight="balanced", max_iter=1000, tol=1e-8)
    expected = model.fit((train - mean) / spread, labels).predict_proba((test - mean) / spread)
    np.testing.assert_allclose(probes.probe(train, labels, test), expected, atol=1e-3)
