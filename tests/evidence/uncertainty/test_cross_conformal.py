"""Prediction sets of an ensemble: the rule by hand, and the frequency that it promises."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from knee.evidence.uncertainty import cross_conformal, prediction_limits
from knee.evidence.uncertainty.cross_conformal import CrossConformal


def two_classes(*scores: list[float]) -> CrossConformal:
    """Held-out scores of the first class by fold; the second class has none."""
    return CrossConformal([[np.sort(one) for one in scores], [np.array([])] * len(scores)], 0.8)


@pytest.mark.parametrize(
    ("count", "level", "needed"), [(8, 0.9, 0), (9, 0.9, 1), (19, 0.9, 2), (3, 0.8, 0), (4, 0.8, 1)]
)
def test_a_class_of_few_images_is_in_every_set(count: int, level: float, needed: int) -> None:
    assert CrossConformal([], level).needed(count) == needed


def test_each_fold_compares_its_own_probability_with_what_it_held_out() -> None:
    # Nine scores in two folds: at level 0.8 two of them have to be as large.
    sets = two_classes([0.1, 0.2, 0.3, 0.9], [0.1, 0.2, 0.3, 0.4, 0.9])
    assert sets.needed(9) == 2
    probability = np.array([[[0.1, 0.9], [0.1, 0.9]], [[0.05, 0.95], [0.5, 0.5]]])
    # Scores 0.9 and 0.9: one of each fold is as large. Scores 0.95 and 0.5: none, and one.
    assert sets.sets(probability)[:, 0].tolist() == [True, False]


def test_with_one_fold_it_is_the_split_conformal_set() -> None:
    random = np.random.default_rng(1)
    held, new = random.dirichlet([1, 1, 1], 60), random.dirichlet([1, 1, 1], 200)
    truth = random.integers(0, 3, 60)
    limits = prediction_limits.thresholds(truth, held, 0.9)
    one_fold = cross_conformal.learn(truth, held, np.zeros(60, np.int64), 1, 0.9)
    np.testing.assert_array_equal(
        one_fold.sets(new[:, np.newaxis]), prediction_limits.prediction_sets(new, limits)
    )


def test_what_is_no_number_is_in_no_set() -> None:
    sets = two_classes([0.1] * 9)
    assert not sets.sets(np.full((1, 1, 2), np.nan)).any()


def test_nearest_mean_classifiers_of_folds_cover_the_true_class_as_often_as_promised() -> None:
    random, folds, level = np.random.default_rng(7), 5, 0.9
    inside, size = [], []
    for _ in range(60):
        truth = np.arange(60) % 2
        values, fold = random.normal(size=60) + truth, np.arange(60) // 2 % folds
        means = [[values[(truth == c) & (fold != k)].mean() for c in (0, 1)] for k in range(folds)]

        def probabilities(x: np.ndarray, own: list[float]) -> np.ndarray:
            powers = np.exp(-np.square(x[:, np.newaxis] - own) / 2)
            return np.asarray(powers / powers.sum(axis=1, keepdims=True))

        held = np.empty((60, 2))
        for k in range(folds):
            held[fold == k] = probabilities(values[fold == k], means[k])
        learned = cross_conformal.learn(truth, held, fold, folds, level)
        new = np.arange(100) % 2
        x = random.normal(size=100) + new
        members = np.stack([probabilities(x, own) for own in means], axis=1)
        found = learned.sets(members)
        inside.append(found[np.arange(100), new].mean())
        size.append(found.sum(axis=1).mean())
    assert np.mean(inside) > 1 - 2 * (1 - level)  # what is proved
    assert 0.88 < np.mean(inside) < 0.94  # what is seen
    assert np.mean(size) < 1.95


def test_what_was_learned_is_read_back_from_the_record(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    held, truth, fold = random.dirichlet([1, 1], 80), np.arange(80) % 2, np.arange(80) // 2 % 4
    learned = prediction_limits.learn_from_folds(
        held,
        truth,
        np.arange(80),
        fold,
        random.normal(size=(80, 6)).astype(np.float32),
        6,
        method="temperature",
        level=0.9,
        quantile=0.95,
    )
    record = {"classes": ["a", "b"], **prediction_limits.write(learned, ["a", "b"], tmp_path)}
    limits = prediction_limits.read(tmp_path, json.loads(json.dumps(record)))
    assert limits.folds == 4
    new = random.dirichlet([1, 1], (30, 4)).astype(np.float32)
    assert isinstance(learned.thresholds, CrossConformal)
    expected = learned.thresholds.sets(new)
    found = limits.sets(new.mean(axis=1), new)
    assert [set(filter(None, names.split("|"))) for names in found] == [
        {name for name, is_in in zip("ab", row, strict=True) if is_in} for row in expected
    ]
    assert record["calibration"]["records"] == 80
