"""Randomisation test of attribution maps (Adebayo et al. 2018, https://arxiv.org/abs/1810.03292).

A map that shows what a model has learned changes when the model forgets it, from the output down.
"""

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from knee.classifier.attribution.grad_cam import Halves
from knee.classifier.net import batch_norms
from knee.classifier.net.saved import last_dense_layers


def cascade(model: Halves, pixels: npt.NDArray[np.uint8], seed: int) -> dict[str, Halves]:
    """Copies of `model` with more and more layers as before the training; `model` stays as it is.

    The weights are drawn anew by `seed`: output: of the last layer; head: of all that reads the
    feature map; trained: what of the backbone was trained, too. Where nothing of it was, there is
    no `trained`: `head` is all that was trained. Parts that are not drawn anew are shared.

    `pixels`, uint8 (rows, side, side), settle the batch norms of `trained`: without statistics of
    their own a deep net of random weights gives every image the same output.
    """
    keras.utils.set_random_seed(seed)
    head = keras.models.clone_model(model.head)
    output = keras.models.clone_model(model.head)
    drawn = [[*layer.get_weights()] for layer in last_dense_layers(output)]
    output.set_weights(model.head.get_weights())
    for layer, weights in zip(last_dense_layers(output), drawn, strict=True):
        layer.set_weights(weights)
    levels = {
        "output": Halves(model.frozen, model.upper, output),
        "head": Halves(model.frozen, model.upper, head),
    }
    if model.upper.trainable_weights:
        upper = keras.models.clone_model(model.upper)
        images = tf.constant(np.asarray(pixels, np.float32)[..., np.newaxis])
        _settle(upper, model.frozen(images, training=False))
        levels["trained"] = Halves(model.frozen, upper, head)
    return levels


def _settle(model: keras.Model, inputs: tf.Tensor) -> None:
    """Give each batch norm the mean and variance that it meets on `inputs`."""
    for norm in batch_norms.of(model):
        norm.momentum, norm.trainable = 0.0, True  # a frozen one would keep what it has
    model(inputs, training=True)
