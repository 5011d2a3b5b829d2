"""Grad-CAM: where in the image the evidence for a class lies.

Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391, on the feature map that the head reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from knee.classifier.net.assembly import split_at_feature_map
from knee.storage.arrays import Integers, Maps, Pixels


@dataclass(frozen=True)
class Halves:
    """A classifier in two halves: up to its feature map, and from there on.

    Attributes:
        frozen: raw pixels (batch, side, side, 1), 0-255 -> input of `upper`.
        upper: what of the backbone is trained, without weights if nothing is -> feature map.
        head: feature map (batch, h, w, channels) -> probabilities (batch, classes).
    """

    frozen: keras.Model
    upper: keras.Model
    head: keras.Model

    def feature_maps(self, images: tf.Tensor) -> tf.Tensor:
        """(batch, h, w, channels) of raw pixels (batch, side, side, 1), 0-255."""
        return self.upper(self.frozen(images, training=False), training=False)

    def batches(self, pixels: Pixels, batch_size: int) -> Iterator[tuple[slice, tf.Tensor]]:
        """Rows of `pixels`, uint8 (rows, side, side), and their feature maps."""
        for start in range(0, len(pixels), batch_size):
            rows = slice(start, start + batch_size)
            images = np.asarray(pixels[rows], np.float32)[..., np.newaxis]
            yield rows, self.feature_maps(tf.constant(images))

    def probabilities(self, pixels: Pixels, batch_size: int = 16) -> npt.NDArray[np.float32]:
        """(rows, classes) of pixels uint8 (rows, side, side); no graph is built for few images."""
        heads = [self.head(maps, training=False) for _, maps in self.batches(pixels, batch_size)]
        return np.concatenate([np.asarray(values, np.float32) for values in heads])


def halves(model: keras.Model) -> Halves:
    """The parts of a saved whole classifier; they share its variables."""
    frozen, trained = model.layers[-2], model.layers[-1]
    return Halves(frozen, *split_at_feature_map(trained))


def grad_cam(model: Halves, pixels: Pixels, class_indices: Integers, batch_size: int = 16) -> Maps:
    """Heat maps, float32 (rows, side, side) in 0-1, of one class an image.

    They show the evidence for the class of `class_indices` (rows,) in `pixels`, uint8 (rows, side,
    side), `batch_size` images at a time.
    """
    batches = model.batches(pixels, batch_size)
    side = pixels.shape[1]
    return np.concatenate(
        [_heat(model.head, maps, class_indices[rows], side) for rows, maps in batches]
    )


def _heat(head: keras.Model, maps: tf.Tensor, class_indices: Integers, side: int) -> Maps:
    with tf.GradientTape() as tape:
        tape.watch(maps)
        probabilities = head(maps, training=False)
        # The logarithm undoes the softmax's saturation: a sure class still has a gradient.
        score = tf.math.log(
            tf.gather(probabilities, class_indices, batch_dims=1) + keras.backend.epsilon()
        )
    weights = tf.reduce_mean(tape.gradient(score, maps), axis=[1, 2], keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(tf.cast(weights * maps, tf.float32), axis=-1))
    peak = tf.reduce_max(heat, axis=[1, 2], keepdims=True)
    heat = tf.math.divide_no_nan(heat, peak)[..., tf.newaxis]
    enlarged = tf.image.resize(heat, (side, side), method="bilinear")[..., 0]
    return np.asarray(enlarged, np.float32)
