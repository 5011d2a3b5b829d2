"""Prediction sets: covered as often as promised, in every class, and monotone in the level."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from knee.evidence.uncertainty import prediction_limits

CLASSES = 3


def exchangeable(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Truth and probabilities that know something of it, differently well by class."""
    random = np.random.default_rng(seed)
    truth = random.choice(CLASSES, rows, p=[0.5, 0.3, 0.2])
    logits = random.normal(0, 1, (rows, CLASSES))
    logits[np.arange(rows), truth] += np.array([2.0, 1.0, 0.3])[truth]
    chances = np.exp(logits)
    return truth, chances / chances.sum(axis=1, keepdims=True)


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000), level=st.sampled_from([0.5, 0.8, 0.9]))
def test_every_class_is_covered_within_the_binomial_error(seed: int, level: float) -> None:
    """Over 200 calibrations, so that what one of them does by luck averages out."""
    covered = np.zeros(CLASSES)
    seen = np.zeros(CLASSES)
    truth, chances = exchangeable(seed, 200 * 120)
    for part in np.split(np.arange(len(truth)), 200):
        known, fresh = part[:80], part[80:]
        limits = prediction_limits.thresholds(truth[known], chances[known], level)
        inside = prediction_limits.prediction_sets(chances[fresh], limits)
        hit = inside[np.arange(len(fresh)), truth[fresh]]
        covered += np.bincount(truth[fresh], hit, CLASSES)
        seen += np.bincount(truth[fresh], minlength=CLASSES)
    # Records that share a threshold fall together: at most as if 200 x 3 were drawn alone.
    error = 4 * np.sqrt(level * (1 - level) / 600)
    assert (covered / seen >= level - error).all()


@given(seed=st.integers(0, 10_000), low=st.floats(0.05, 0.95), more=st.floats(0, 0.9))
def test_a_higher_level_never_takes_a_class_out_of_a_set(
    seed: int, low: float, more: float
) -> None:
    truth, chances = exchangeable(seed, 60)
    high = low + more * (1 - low)
    small = prediction_limits.prediction_sets(
        chances, prediction_limits.thresholds(truth, chances, low)
    )
    large = prediction_limits.prediction_sets(
        chances, prediction_limits.thresholds(truth, chances, high)
    )
    assert (large | ~small).all()


@given(seed=st.integers(0, 10_000), level=st.floats(0.1, 0.95))
def test_the_records_themselves_are_covered_at_least_at_the_level(seed: int, level: float) -> None:
    truth, chances = exchangeable(seed, 90)
    inside = prediction_limits.prediction_sets(
        chances, prediction_limits.thresholds(truth, chances, level)
    )
    for number in range(CLASSES):
        own = inside[truth == number, number]
        assert not len(own) or own.mean() >= level


def test_a_class_with_too_few_records_is_in_every_set() -> None:
    truth = np.array([0] * 9 + [1] * 8)
    chances = np.tile([0.99, 0.01], (17, 1))
    limits = prediction_limits.thresholds(truth, chances, 0.9)
    assert limits[0] == 1 - 0.99
    assert limits[1] == np.inf
    assert prediction_limits.prediction_sets(np.array([[1.0, 0.0]]), limits)[0, 1]


def test_the_threshold_is_the_score_of_the_corrected_rank() -> None:
    chances = np.column_stack([np.arange(1, 20) / 20, 1 - np.arange(1, 20) / 20])
    limits = prediction_limits.thresholds(
        np.zeros(19, int), chances, 0.9
    )  # (19 + 1) 0.9 = 18th of 19
    assert limits[0] == np.sort(1 - chances[:, 0])[17]
