"""Grad-CAM: where in the image the evidence for a class lies.

Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391, on the feature map that the head reads.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from knee.classifier.net.assembly import split_at_feature_map


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

    def probabilities(
        self, pixels: npt.NDArray[np.uint8], batch_size: int = 16
    ) -> npt.NDArray[np.float32]:
        """(rows, classes) of pixels uint8 (rows, side, side); no graph is built for few images."""
        found = []
        for start in range(0, len(pixels), batch_size):
            images = np.asarray(pixels[start : start + batch_size], np.float32)[..., np.newaxis]
            maps = self.feature_maps(tf.constant(images))
            found.append(np.asarray(self.head(maps, training=False), np.float32))
        return np.concatenate(found)


def halves(model: keras.Model) -> Halves:
    """The parts of a saved whole classifier; they share its variables."""
    frozen, trained = model.layers[-2], model.layers[-1]
    return Halves(frozen, *split_at_feature_map(trained))


def grad_cam(
    model: keras.Model | Halves,
    pixels: npt.NDArray[np.uint8],
    class_indices: npt.NDArray[np.int64],
    batch_size: int = 16,
) -> npt.NDArray[np.float32]:
    """Heat maps, float32 (rows, side, side) in 0-1, of one class an image.

    Args:
        model: a saved whole classifier (raw pixels -> probabilities), or its halves.
        pixels: uint8 (rows, side, side).
        class_indices: (rows,) class whose evidence is shown.
        batch_size: images at a time.
    """
    parts = model if isinstance(model, Halves) else halves(model)
    heat = []
    for start in range(0, len(pixels), batch_size):
        rows = slice(start, start + batch_size)
        images = tf.constant(np.asarray(pixels[rows], np.float32)[..., np.newaxis])
        maps = parts.feature_maps(images)
        heat.append(_heat(parts.head, maps, class_indices[rows], images.shape[1]))
    return np.concatenate(heat)


def _heat(
    head: keras.Model, maps: tf.Tensor, class_indices: npt.NDArray[np.int64], side: int
) -> npt.NDArray[np.float32]:
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
