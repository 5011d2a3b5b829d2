"""Grad-CAM: where in the film the evidence for a class lies.

Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391, on the feature map that the head reads.
"""

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from stages.classifier.assembly import FEATURE_MAP


def grad_cam(
    model: keras.Model,
    pixels: npt.NDArray[np.uint8],
    class_indices: npt.NDArray[np.int64],
    batch_size: int = 16,
) -> npt.NDArray[np.float32]:
    """Heat maps, float32 (rows, side, side) in 0-1, of one class an image.

    Args:
        model: a saved whole classifier (raw pixels -> probabilities).
        pixels: uint8 (rows, side, side).
        class_indices: (rows,) class whose evidence is shown.
        batch_size: images at a time.
    """
    frozen, trained = model.layers[-2], model.layers[-1]
    features = trained.get_layer(FEATURE_MAP).output
    trunk = keras.Model(trained.input, features)
    head = keras.Model(features, trained.output)
    heat = []
    for start in range(0, len(pixels), batch_size):
        rows = slice(start, start + batch_size)
        images = tf.constant(np.asarray(pixels[rows], np.float32)[..., np.newaxis])
        maps = trunk(frozen(images, training=False), training=False)
        heat.append(_heat(head, maps, class_indices[rows], images.shape[1]))
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
