"""Batches: which rows when, and changes that depend on the seed and the position alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knee.classifier.features.feature_source import Source, Subset, TrainingData

pytestmark = pytest.mark.tf


@given(st.integers(1, 70), st.integers(1, 32), st.integers(0, 5))
def test_an_epoch_is_whole_batches_of_distinct_rows(rows: int, batch: int, epoch: int) -> None:
    from knee.classifier.training import inputs

    order = inputs.epoch_order(rows, batch, 42, epoch)
    assert len(set(order.tolist())) == len(order)
    assert len(order) == (rows if rows < batch else rows // batch * batch)
    np.testing.assert_array_equal(order, inputs.epoch_order(rows, batch, 42, epoch))


def reading(source: Source, class_indices: Any, classes: int) -> TrainingData:
    """A training on all rows of `source`."""
    rows = Subset(np.arange(len(class_indices)), class_indices)
    return TrainingData(source, rows, rows, classes, np.ones(classes, np.float32))


def batches(epochs: range) -> list[npt.NDArray[np.float32]]:
    """The inputs of all batches of `epochs`."""
    from knee.classifier.training import inputs

    pixels = np.random.default_rng(0).integers(0, 255, (1, 20, 8, 8)).astype(np.uint8)
    data = inputs.training_batches(
        reading(Source(pixels, pixels=True), np.arange(20) % 3, 3),
        inputs.Augmentation(True, 5, 0.1, 0.1, 0.1, 0.1),
        targets=inputs.targets(3, 0),
        batch_size=4,
        epochs=epochs,
        seed=1,
    )
    return [np.asarray(batch[0]) for batch in data]


def test_later_epochs_are_the_same_whether_training_began_there_or_before() -> None:
    whole, resumed = batches(range(4)), batches(range(2, 4))
    assert len(resumed) == 10
    for one, two in zip(whole[10:], resumed, strict=True):
        np.testing.assert_array_equal(one, two)


def test_batches_are_the_rows_labels_and_weights_of_each_epochs_order() -> None:
    from knee.classifier.training import inputs

    values, classes = np.arange(23, dtype=np.float16).reshape(1, 23, 1, 1, 1), np.arange(23) % 3
    rows = Subset(np.arange(23)[::-1].copy(), classes)
    weights = np.array([1, 2, 3], np.float32)
    made = inputs.training_batches(
        TrainingData(Source(values, pixels=False), rows, rows, 3, weights),
        inputs.Augmentation(),
        targets=inputs.targets(3, 0),
        batch_size=4,
        epochs=range(2, 5),
        seed=7,
    )
    order = np.concatenate([inputs.epoch_order(23, 4, 7, epoch) for epoch in range(2, 5)])
    columns = (
        np.concatenate([np.asarray(part) for part in column]) for column in zip(*made, strict=True)
    )
    seen, wanted, weighed = columns
    np.testing.assert_array_equal(seen.ravel(), rows.rows[order])
    np.testing.assert_array_equal(wanted, np.eye(3)[classes[order]])
    np.testing.assert_array_equal(weighed, weights[classes[order]])


def test_augmented_pixels_stay_in_range_and_differ_from_epoch_to_epoch() -> None:
    made = np.stack(batches(range(2)))
    assert made.min() >= 0
    assert made.max() <= 255
    assert not np.array_equal(made[0], made[5])


def test_without_amplitudes_nothing_changes() -> None:
    import tensorflow as tf

    from knee.classifier.training import inputs

    images = tf.constant(np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 1)), tf.float32)
    same = inputs.augment(images, 1, tf.constant(0, tf.int64), inputs.Augmentation())
    np.testing.assert_allclose(same, images, atol=1e-3)


def test_a_flip_is_horizontal_only() -> None:
    import tensorflow as tf

    from knee.classifier.training import inputs

    image = np.zeros((64, 6, 6, 1), np.float32)
    image[:, 0, 0] = 200
    flipped = np.asarray(
        inputs.augment(tf.constant(image), 1, tf.constant(0, tf.int64), inputs.Augmentation(True))
    )
    left, right = flipped[:, 0, 0, 0] > 100, flipped[:, 0, 5, 0] > 100
    assert left.any()
    assert right.any()
    assert (left ^ right).all()
    assert flipped[:, 1:].max() == 0


def test_frozen_features_are_flipped_by_their_second_view() -> None:
    from knee.classifier.training import inputs

    values = np.stack([np.zeros((30, 2, 2, 1)), np.ones((30, 2, 2, 1))]).astype(np.float16)
    for flip, expected in ((True, {0.0, 1.0}), (False, {0.0})):
        data = inputs.training_batches(
            reading(
                Source(values, pixels=False, kinds=("image", "mirror")), np.zeros(30, np.int64), 2
            ),
            inputs.Augmentation(horizontal_flip=flip),
            targets=inputs.targets(2, 0),
            batch_size=10,
            epochs=range(1),
            seed=3,
        )
        seen = np.concatenate([np.asarray(batch[0]) for batch in data])
        assert set(np.unique(seen).tolist()) == expected


@pytest.mark.parametrize("deviation", [0, 0.3, 0.5, 1, 3])
def test_wanted_probabilities_fall_with_the_distance_from_the_grade(deviation: float) -> None:
    from knee.classifier.training import inputs

    wanted = inputs.targets(5, deviation)
    np.testing.assert_allclose(wanted.sum(axis=1), 1, rtol=1e-6)
    distance = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    for row, steps in zip(wanted, distance, strict=True):
        assert (np.diff(row[np.argsort(steps, kind="stable")]) <= 0).all()
    assert (wanted[0, 1] > wanted[0, 2]) == (deviation > 0)
    np.testing.assert_array_equal(wanted[::-1, ::-1], wanted)


def test_training_asks_for_the_targets_of_each_row() -> None:
    from knee.classifier.training import inputs

    rows = 6
    values = np.zeros((1, rows, 1, 1, 1), np.float16)
    classes = np.arange(rows) % 3
    wanted = inputs.targets(3, 0.5)
    (batch,) = inputs.training_batches(
        reading(Source(values, pixels=False), classes, 3),
        inputs.Augmentation(),
        targets=wanted,
        batch_size=rows,
        epochs=range(1),
        seed=3,
    )
    order = inputs.epoch_order(rows, rows, 3, 0)
    np.testing.assert_array_equal(np.asarray(batch[1]), wanted[classes[order]])


def test_a_mixed_batch_has_its_images_labels_and_weights_in_the_same_shares() -> None:
    import tensorflow as tf

    from knee.classifier.training import inputs

    count = 200
    marks = np.eye(count, dtype=np.float32)  # which image is how much of each result
    made = (marks.reshape(count, count, 1, 1), marks, np.arange(count, dtype=np.float32))
    tick = tf.constant(5, tf.int64)
    images, labels, weights = inputs.mixed(tuple(map(tf.constant, made)), 1, tick, 0.4)
    np.testing.assert_array_equal(np.reshape(images, (count, count)), labels)
    np.testing.assert_allclose(np.sum(labels, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(weights, np.asarray(labels) @ made[2], rtol=1e-4, atol=1e-4)
    assert (np.count_nonzero(labels, axis=1) <= 2).all()
    shares = 1 - np.diag(labels)
    # Beta(a, a) has mean 1/2 and variance 1/(8a + 4).
    assert shares.mean() == pytest.approx(0.5, abs=0.1)
    assert shares.var() == pytest.approx(1 / 7.2, abs=0.03)
    again = inputs.mixed(tuple(map(tf.constant, made)), 1, tick, 0.4)
    np.testing.assert_array_equal(again[1], labels)


def test_padded_batches_hold_every_row_in_order() -> None:
    from knee.classifier.training import inputs

    values = np.arange(7, dtype=np.float16).reshape(1, 7, 1, 1, 1)
    made = inputs.padded_batches(Source(values, pixels=False), np.arange(7), 4)
    flat = np.concatenate([np.asarray(batch).ravel() for batch in made])
    assert flat.tolist() == [0, 1, 2, 3, 4, 5, 6, 6]


def test_no_thread_tunes_what_prepares_batches_also_after_further_steps() -> None:
    from knee.classifier.training import inputs

    values = np.arange(7, dtype=np.float16).reshape(1, 7, 1, 1, 1)
    made = inputs.padded_batches(Source(values, pixels=False), np.arange(7), 4)
    assert made.map(lambda batch: batch + 1).prefetch(1).options().autotune.enabled is False
