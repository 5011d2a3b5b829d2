"""Batch norms by TensorFlow's kernel learn what Keras' own learn, in fewer operations."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytestmark = pytest.mark.tf
RATE = 0.5
KERNEL = "FusedBatchNormV3"


@pytest.fixture
def net() -> Any:
    """With a batch norm in a model of its own, one without scales, and one of rows."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    pixels = keras.Input((6, 6, 2))
    inner = keras.Sequential([layers.Conv2D(4, 3), layers.BatchNormalization(name="inner")])
    hidden = layers.BatchNormalization(momentum=0.9, name="outer")(inner(pixels))
    hidden = layers.BatchNormalization(scale=False, center=False, name="bare")(hidden)
    hidden = layers.GlobalAveragePooling2D()(layers.Activation("relu")(hidden))
    hidden = layers.BatchNormalization(name="of_rows")(hidden)
    return keras.Model(pixels, layers.Dense(2)(hidden))


def learned(
    net: Any, around: Callable[[Any], contextlib.AbstractContextManager[None]]
) -> tuple[list[npt.NDArray[Any]], list[str]]:
    """The weights of a copy of `net` after three steps, and what kinds of operations a step has."""
    import keras
    import tensorflow as tf

    from knee.classifier.net import batch_norms

    copy = keras.models.clone_model(net)
    copy.set_weights(net.get_weights())
    for one, two in zip(batch_norms.of(copy), batch_norms.of(net), strict=True):
        one.trainable = two.trainable
    images = np.random.default_rng(0).normal(3, 2, (8, 6, 6, 2)).astype(np.float32)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def step() -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(copy(tf.constant(images), training=True) - 1))
        gradients = tape.gradient(loss, copy.trainable_variables)
        for variable, gradient in zip(copy.trainable_variables, gradients, strict=True):
            variable.assign(variable - RATE * gradient)

    with around(copy):
        for _ in range(3):
            step()
    graph = step.get_concrete_function().graph
    return copy.get_weights(), [operation.type for operation in graph.get_operations()]


@pytest.mark.parametrize(("frozen", "kernels"), [("", 3), ("inner", 2), ("of_rows", 3)])
def test_the_kernel_learns_weights_and_statistics_as_keras_does(
    frozen: str, kernels: int, net: Any
) -> None:
    from knee.classifier.net import batch_norms

    for norm in batch_norms.of(net):
        norm.trainable = norm.name != frozen
    expected, composed = learned(net, lambda _: contextlib.nullcontext())
    found, fused = learned(net, batch_norms.fused)
    assert (composed.count(KERNEL), fused.count(KERNEL)) == (0, kernels)
    changed = 0
    for one, two, before in zip(expected, found, net.get_weights(), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-3, atol=1e-5)
        changed += not np.allclose(one, before, atol=0.01)
    assert changed >= 4


def test_after_the_block_the_layers_are_keras_own(net: Any, tmp_path: Path) -> None:
    import keras

    from knee.classifier.net import batch_norms

    with pytest.raises(RuntimeError, match="in the middle"), batch_norms.fused(net):
        raise RuntimeError("in the middle")
    assert learned(net, lambda _: contextlib.nullcontext())[1].count(KERNEL) == 0
    with batch_norms.fused(net):
        net.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras", safe_mode=True)
    assert {type(norm) for norm in batch_norms.of(again)} == {keras.layers.BatchNormalization}


def test_half_precision_is_left_to_keras(net: Any) -> None:
    import keras

    from knee.classifier.net import batch_norms

    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    half = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.BatchNormalization()])
    with batch_norms.fused(half):
        assert "call" not in vars(half.layers[0])
    with batch_norms.fused(net):
        assert "call" in vars(net.get_layer("outer"))
