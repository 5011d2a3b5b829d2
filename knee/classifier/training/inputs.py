"""Batches of rows for tf.data: which rows when, and what happens to them on the way.

All randomness comes from (seed, epoch) and (seed, position in the run), never from the order in
which threads finish; so a training that resumes at an epoch sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from knee.classifier.features.feature_source import Source, TrainingData
from knee.storage.arrays import Images, Integers


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training images: the parameters' section `train.augmentation`.

    There is no vertical flip: knees stand upright. By `mixup` each image, or feature map, becomes a
    mean of two, and so do their labels; the share of the second is drawn from Beta(mixup, mixup).
    Zhang et al. 2018, https://arxiv.org/abs/1710.09412; on feature maps: Verma et al. 2019,
    https://arxiv.org/abs/1806.05236.
    """

    horizontal_flip: bool = False
    rotation_degrees: float = 0.0
    translation_share: float = 0.0
    zoom_share: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    mixup: float = 0.0


def epoch_order(rows: int, batch_size: int, seed: int, epoch: int) -> Integers:
    """Return positions 0..rows-1 shuffled for `epoch`, as many as fill whole batches.

    A partial last batch is left out (another remainder in every epoch): batches of one size keep
    the gradient's scale and never leave a replica without work.
    """
    order = np.random.default_rng((seed, epoch)).permutation(rows)
    return order[: max(rows // batch_size, 1) * batch_size].astype(np.int64)


def targets(classes: int, deviation: float) -> npt.NDArray[np.float32]:
    """(classes, classes) row k: the wanted probabilities of a record of class k.

    One-hot for a `deviation` of 0, else a normal density of that standard deviation (in classes)
    about k: soft ordinal labels, by which a grade's neighbours are lesser errors than what lies
    beyond them. Diaz and Marathe 2019, https://doi.org/10.1109/CVPR.2019.00487.
    """
    if not deviation:
        return np.eye(classes, dtype=np.float32)
    grades = np.arange(classes)
    density = np.exp(-((grades - grades[:, np.newaxis]) ** 2) / (2 * deviation**2))
    return np.asarray(density / density.sum(axis=1, keepdims=True), np.float32)


def training_batches(
    data: TrainingData,
    augmentation: Augmentation,
    *,
    targets: npt.NDArray[np.float32],
    batch_size: int,
    epochs: range,
    seed: int,
) -> tf.data.Dataset:
    """All batches of `epochs`, one after the other: (inputs, wanted probabilities, weights).

    `augmentation` is for pixels; of it features have mixup, and the flip where there is a mirrored
    view. `targets` are those of the function `targets`, for rows without soft labels of their own;
    `batch_size` is global.
    """
    source, rows, class_indices = data.source, data.training.rows, data.training.class_indices
    weights, soft_labels = data.class_weights[class_indices], data.training.soft_labels
    wanted = targets[class_indices] if soft_labels is None else soft_labels
    table = tuple(tf.constant(column) for column in (rows, wanted, weights))
    length = len(epoch_order(len(rows), batch_size, seed, 0))
    offered = tf.constant(source.offered(flip=augmentation.horizontal_flip), tf.int64)

    size = min(batch_size, length)

    def positions(epoch: tf.Tensor) -> tf.data.Dataset:
        def order(number: npt.NDArray[np.int64]) -> Integers:
            return epoch_order(len(rows), batch_size, seed, int(number))

        # Were it called stateful, TensorFlow would prepare batches one by one, with a warning.
        drawn = tf.numpy_function(order, [epoch], tf.int64, stateful=False)
        drawn = tf.ensure_shape(drawn, (length,))
        ticks = tf.range(0, length, size, dtype=tf.int64) + epoch * length
        return tf.data.Dataset.from_tensor_slices((tf.reshape(drawn, (-1, size)), ticks))

    def prepare(position: tf.Tensor, tick: tf.Tensor) -> tuple[tf.Tensor, ...]:
        row, label, weight = (tf.gather(column, position) for column in table)
        chosen = _read(source, _choose(offered, row, seed, tick), row)
        if source.pixels:
            chosen = augment(chosen, seed, tick, augmentation)
        made = (chosen, label, weight)
        return mixed(made, seed, tick, augmentation.mixup) if augmentation.mixup else made

    # The order of one epoch at a time is in memory.
    orders = tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(positions)
    return _prepared_ahead(orders, prepare)


def padded_batches(source: Source, rows: Integers, batch_size: int) -> tf.data.Dataset:
    """Rows in order, the last one repeated up to whole batches: the caller cuts the result."""
    padding = -len(rows) % batch_size
    padded = np.concatenate([rows, np.repeat(rows[-1:], padding)])

    def prepare(row: tf.Tensor) -> tf.Tensor:
        return _read(source, tf.zeros_like(row), row)

    batches = tf.data.Dataset.from_tensor_slices(padded).batch(batch_size, drop_remainder=True)
    return _prepared_ahead(batches, prepare)


def _prepared_ahead(
    positions: tf.data.Dataset, prepare: Callable[..., tf.Tensor | tuple[tf.Tensor, ...]]
) -> tf.data.Dataset:
    """Prepare batches in order, some at once, ahead of the net.

    tf.data's tuning is off: where a net has one core, the thread that tunes and that of the net
    wait for each other, a third of the time of a training with short epochs (docs/log.md).
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return (
        positions.map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(tf.data.AUTOTUNE)
        .with_options(options)
    )


def _choose(offered: tf.Tensor, row: tf.Tensor, seed: int, tick: tf.Tensor) -> tf.Tensor:
    """One of the `offered` views for each row."""
    if offered.shape[0] < 2:
        return tf.zeros_like(row)
    draws = tf.random.stateless_uniform(
        tf.shape(row), _seed(seed, tick, 0), 0, offered.shape[0], tf.int64
    )
    return tf.gather(offered, draws)


def _read(source: Source, view: tf.Tensor, row: tf.Tensor) -> tf.Tensor:
    """Values of `source`, float32 (batch, ...), read from its file by tf.data's threads."""

    def take(views: Integers, rows: Integers) -> Images:
        return source.take(views, rows).astype(np.float32)  # oneDNN warns of float16 in a graph

    chosen = tf.numpy_function(take, [view, row], tf.float32, stateful=False)
    chosen = tf.ensure_shape(chosen, (row.shape[0], *source.values.shape[2:]))
    return chosen[..., tf.newaxis] if source.pixels else chosen


def _seed(seed: int, tick: tf.Tensor, purpose: int) -> tf.Tensor:
    return tf.stack([tf.constant(seed * 16 + purpose, tf.int64), tick])


def augment(images: tf.Tensor, seed: int, tick: tf.Tensor, settings: Augmentation) -> tf.Tensor:
    """Change a batch (batch, side, side, 1), 0-255, float32; a function of (seed, tick) alone."""
    count = tf.shape(images)[0]

    def uniform(purpose: int, amplitude: float) -> tf.Tensor:
        return tf.random.stateless_uniform(
            [count], _seed(seed, tick, purpose), -amplitude, amplitude
        )

    if settings.horizontal_flip:
        mirrored = uniform(1, 1.0)[:, None, None, None] > 0
        images = tf.where(mirrored, images[:, :, ::-1], images)
    if settings.rotation_degrees or settings.translation_share or settings.zoom_share:
        images = _affine(
            images,
            uniform(2, settings.rotation_degrees * np.pi / 180),
            1 + uniform(3, settings.zoom_share),
            uniform(4, settings.translation_share),
            uniform(5, settings.translation_share),
        )
    mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
    factor = (1 + uniform(6, settings.contrast))[:, None, None, None]
    shift = 255 * uniform(7, settings.brightness)[:, None, None, None]
    return tf.clip_by_value((images - mean) * factor + mean + shift, 0, 255)


def mixed(
    made: tuple[tf.Tensor, ...], seed: int, tick: tf.Tensor, concentration: float
) -> tuple[tf.Tensor, ...]:
    """Mix each entry of a batch with the one before it, all of its tensors by one share."""
    count = tf.shape(made[0])[0]
    # A quotient of Gamma variables follows a Beta distribution.
    one, other = tf.unstack(
        tf.random.stateless_gamma([2, count], _seed(seed, tick, 8), concentration)
    )
    share = tf.math.divide_no_nan(one, one + other)

    def mix(values: tf.Tensor) -> tf.Tensor:
        shares = tf.reshape(share, [-1, *[1] * (len(values.shape) - 1)])
        return values + shares * (tf.roll(values, 1, axis=0) - values)

    return tuple(mix(values) for values in made)


def _affine(
    images: tf.Tensor, angle: tf.Tensor, scale: tf.Tensor, right: tf.Tensor, down: tf.Tensor
) -> tf.Tensor:
    """Rotate by `angle` (radians) and scale about the centre, then shift; black outside."""
    side = tf.cast(tf.shape(images)[1], tf.float32)
    centre = (side - 1) / 2
    cosine, sine = tf.cos(angle) * scale, tf.sin(angle) * scale
    zero = tf.zeros_like(angle)
    across = centre - centre * (cosine - sine) + right * side
    along = centre - centre * (sine + cosine) + down * side
    transforms = tf.stack([cosine, -sine, across, sine, cosine, along, zero, zero], axis=1)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
