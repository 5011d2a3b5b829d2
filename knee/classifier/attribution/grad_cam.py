"""Grad-CAM: where in the image the evidence for a class lies.

Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391, on the feature map that the head reads.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from knee.classifier.net.assembly import members_of, split_at_feature_map
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

    def maps_of(self, pixels: Pixels, batch_size: int = 16) -> tf.Tensor:
        """Feature maps of pixels uint8 (rows, side, side); no graph is built for few images."""
        images = np.asarray(pixels, np.float32)[..., np.newaxis]
        starts = range(0, len(images), batch_size)
        return tf.concat(
            [
                self.feature_maps(tf.constant(images[start : start + batch_size]))
                for start in starts
            ],
            axis=0,
        )

    @functools.cached_property
    def classify(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """`head` as a function; the members of an ensemble, which are alike, are traced once."""
        members = members_of(self.head)
        if not members or members[0].input.shape != self.head.input.shape:  # maps of their own
            return functools.partial(self.head, training=False)
        weights = [_tensors(member) for member in members]
        specs = tf.nest.map_structure(tf.TensorSpec.from_tensor, weights[0])
        any_rows = tf.TensorSpec(self.head.input.shape, self.head.input.dtype)

        logits = tf.function(
            lambda values, maps: members[0].stateless_call(*values, maps, training=False)[0],
            input_signature=[specs, any_rows],
            autograph=False,
        )

        def classify(maps: tf.Tensor) -> tf.Tensor:
            answers = [logits(values, maps) for values in weights]
            return tf.nn.softmax(tf.reduce_mean(tf.stack(answers), axis=0))

        return classify

    def probabilities(self, maps: tf.Tensor) -> npt.NDArray[np.float32]:
        """(rows, classes) of feature maps."""
        return np.asarray(self.classify(maps), np.float32)


_Values = tuple[list[tf.Tensor], list[tf.Tensor]]  # of trainable and other variables


def _tensors(model: keras.Model) -> _Values:
    parts = (model.trainable_variables, model.non_trainable_variables)
    trainable, others = ([tf.convert_to_tensor(one.value) for one in part] for part in parts)
    return trainable, others


def halves(model: keras.Model) -> Halves:
    """The parts of a saved whole classifier; they share its variables."""
    frozen, trained = model.layers[-2], model.layers[-1]
    return Halves(frozen, *split_at_feature_map(trained))


def grad_cam(model: Halves, pixels: Pixels, class_indices: Integers, batch_size: int = 16) -> Maps:
    """Heat maps, float32 (rows, side, side) in 0-1, of one class an image.

    They show the evidence for the class of `class_indices` (rows,) in `pixels`, uint8 (rows, side,
    side), `batch_size` images at a time.
    """
    return of_maps(model, model.maps_of(pixels, batch_size), class_indices, pixels.shape[1])


def of_maps(model: Halves, maps: tf.Tensor, class_indices: Integers, side: int) -> Maps:
    """Heat maps as `grad_cam` makes them, of feature maps that are there already."""
    with tf.GradientTape() as tape:
        tape.watch(maps)
        probabilities = model.classify(maps)
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
