"""The batch norms of a net, and their fast kernel while it learns."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import keras
from keras.layers import BatchNormalization


def of(model: keras.Model) -> Iterator[BatchNormalization]:
    """Yield the batch norms of `model` and of the models in it."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from of(layer)
        elif isinstance(layer, BatchNormalization):
            yield layer


@contextlib.contextmanager
def fused(model: keras.Model) -> Iterator[None]:
    """Let TensorFlow's kernel do the work of batch norms that learn, in what is traced meanwhile.

    Keras composes a batch norm of a dozen operations, and its gradient of twice as many, each of
    which reads and writes the whole feature map. The kernel does the same in one (Ioffe and Szegedy
    2015, https://arxiv.org/abs/1502.03167), but for the last digits. The layers are changed, not
    replaced: what is saved of the model is Keras' own.
    """
    norms = [norm for norm in of(model) if _is_plain(norm)]
    for norm in norms:
        norm.call = functools.partial(_call, norm)
    try:
        yield
    finally:
        for norm in norms:
            del norm.call


def _is_plain(norm: BatchNormalization) -> bool:
    """Whether it is one that the kernel knows: of feature maps, channels last, in float32."""
    is_map = norm.input_spec.ndim == 4 and norm.axis in (-1, 3)
    return is_map and not norm.renorm and norm.compute_dtype == "float32"


def _call(
    norm: BatchNormalization, inputs: Any, training: bool | None = None, mask: Any = None
) -> Any:
    import tensorflow as tf  # embed, which needs the layers' names alone, does without

    if not (training and norm.trainable):
        return type(norm).call(norm, inputs, training=training, mask=mask)
    channels = inputs.shape[-1]
    outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        inputs,
        tf.convert_to_tensor(norm.gamma) if norm.scale else tf.ones(channels),
        tf.convert_to_tensor(norm.beta) if norm.center else tf.zeros(channels),
        epsilon=norm.epsilon,
        is_training=True,
    )
    count = tf.cast(tf.size(inputs) // channels, tf.float32)
    biased = variance * (count - 1) / count  # the kernel gives the sample's, Keras keeps this one
    for kept, seen in ((norm.moving_mean, mean), (norm.moving_variance, biased)):
        kept.assign(kept * norm.momentum + seen * (1 - norm.momentum))
    return outputs
