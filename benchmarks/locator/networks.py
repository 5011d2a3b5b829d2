"""The two networks of the search for knees in Keras, and their weights for NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from knee.location import knees
from knee.location.convolutions import Weights
from knee.location.knees import CLOSE_PIXELS, FILM_PIXELS
from knee.storage.arrays import Images

FILM_CHANNELS: Final = (12, 24, 48, 48, 64, 64, 64, 48, 48)
CLOSE_CHANNELS: Final = (16, 32, 48, 64, 64, 64)
CLOSE_HIDDEN, CLOSE_OUTPUTS = 64, 6
KNEE, LATERAL, TURNED = 3, 4, 5  # of the outputs
FILM_BATCH, CLOSE_BATCH = 32, 64
LEARNING_RATE: Final = 2e-3
Examples = tuple[NDArray[np.floating], Images]  # inputs and targets


def trained(
    whole: Examples, near: Callable[[Weights], Examples], epochs: tuple[int, int], seed: int
) -> dict[str, Images]:
    """Train both networks and return their weights, by which NumPy computes the same.

    `near` gives the examples of the second, for the weights of the first.
    """
    keras.utils.set_random_seed(seed)
    film = film_network()
    _fit(film, whole, _film_loss, epochs[0], FILM_BATCH)
    close_data = near(folded([film]))
    keras.utils.set_random_seed(seed)
    close = close_network()
    _fit(close, close_data, _close_loss, epochs[1], CLOSE_BATCH)
    weights = folded([film, close])
    _check_alike(film, close, weights, whole[0][0], close_data[0][0])
    return weights


def film_network() -> keras.Model:
    """Return the network of `knee.location.knees.heat_map`, with batch normalisation."""
    inputs = keras.Input((FILM_PIXELS, FILM_PIXELS, 1))
    fine = _block(inputs, "film1", 2)
    fine = _block(fine, "film2", 2)
    fine = _block(fine, "film3", 2)
    fine = _block(fine, "film4")
    coarse = _block(fine, "film5", 2)
    for name in ("film6", "film7", "film8"):
        coarse = _block(coarse, name)
    joined = layers.Add()([fine, layers.UpSampling2D(2)(coarse)])
    joined = _block(joined, "film9")
    heat = layers.Conv2D(2, 1, name="film10", bias_initializer=keras.initializers.Constant(-2.0))
    return keras.Model(inputs, heat(joined))


def close_network() -> keras.Model:
    """Return the network of `knee.location.knees.close_look`, with batch normalisation."""
    inputs = keras.Input((CLOSE_PIXELS, CLOSE_PIXELS, 1))
    seen = inputs
    for number, stride in enumerate((2, 2, 1, 2, 1, 2), 1):
        seen = _block(seen, f"close{number}", stride)
    seen = layers.Dropout(0.1)(layers.Flatten()(seen))
    hidden = layers.Dense(CLOSE_HIDDEN, "relu", name="close7")(seen)
    return keras.Model(inputs, layers.Dense(CLOSE_OUTPUTS, name="close8")(hidden))


def folded(models: Sequence[keras.Model]) -> dict[str, Images]:
    """Return the weights of `models` by name, batch normalisation folded into convolutions."""
    arrays: dict[str, Images] = {}
    for model in models:
        for layer in model.layers:
            if isinstance(layer, (layers.Conv2D, layers.Dense)):
                kernel, *bias = (np.asarray(one) for one in layer.get_weights())
                shift = bias[0] if bias else np.zeros(kernel.shape[-1], np.float32)
                if not bias:
                    norm = model.get_layer(f"{layer.name}_norm")
                    gamma, beta, mean, variance = (np.asarray(one) for one in norm.get_weights())
                    factor = gamma / np.sqrt(variance + norm.epsilon)
                    kernel, shift = kernel * factor, beta - mean * factor
                arrays[f"{layer.name}_kernel"], arrays[f"{layer.name}_bias"] = kernel, shift
    return arrays


def _block(inputs: Any, name: str, stride: int = 1) -> Any:
    """A 3 x 3 convolution, zero-padded alike on all sides, normalised and rectified."""
    channels = FILM_CHANNELS if name.startswith("film") else CLOSE_CHANNELS
    filters = channels[int(name.removeprefix("film").removeprefix("close")) - 1]
    padded = layers.ZeroPadding2D(1)(inputs)
    outputs = layers.Conv2D(filters, 3, stride, use_bias=False, name=name)(padded)
    outputs = layers.BatchNormalization(momentum=0.95, name=f"{name}_norm")(outputs)
    return layers.ReLU()(outputs)


def _check_alike(
    film: keras.Model, close: keras.Model, weights: dict[str, Images], whole: Images, near: Images
) -> None:
    """Refuse weights by which NumPy computes anything else than Keras."""
    by_keras = np.moveaxis(np.asarray(film(whole[None]))[0], 2, 0)
    by_numpy = np.stack(knees.heat_map(whole[..., 0].astype(np.float32), weights))
    np.testing.assert_allclose(by_numpy, by_keras, atol=1e-3, rtol=1e-3)
    seen = knees.close_look(near[..., 0].astype(np.float32), weights)
    np.testing.assert_allclose(seen, np.asarray(close(near[None]))[0], atol=1e-3, rtol=1e-3)


def _film_loss(truth: Any, predicted: Any) -> Any:
    heat = keras.ops.binary_crossentropy(truth[..., 0], predicted[..., 0], from_logits=True)
    odds = keras.ops.sigmoid(predicted[..., 0])
    focal = heat * keras.ops.square(odds - truth[..., 0]) ** 0.5 * (1 + 9 * truth[..., 0])
    width = keras.ops.abs(truth[..., 1] - predicted[..., 1]) * truth[..., 2]
    return keras.ops.sum(focal + 0.3 * width, axis=(1, 2))


def _close_loss(truth: Any, predicted: Any) -> Any:
    knee = truth[:, KNEE]
    error = keras.ops.sum(keras.ops.abs(truth[:, :3] - predicted[:, :3]), axis=1)
    found = keras.ops.binary_crossentropy(knee, predicted[:, KNEE], from_logits=True)
    known = keras.ops.abs(truth[:, LATERAL] - 0.5) * 2 * knee
    lateral = keras.ops.binary_crossentropy(
        truth[:, LATERAL], predicted[:, LATERAL], from_logits=True
    )
    turned = keras.ops.binary_crossentropy(truth[:, TURNED], predicted[:, TURNED], from_logits=True)
    return 4 * error * knee + found + lateral * known + turned * knee


def _fit(model: keras.Model, data: Examples, loss: Any, epochs: int, batch: int) -> None:
    inputs, targets = data
    steps = epochs * -(-len(inputs) // batch)
    rate = keras.optimizers.schedules.CosineDecay(
        LEARNING_RATE / 10, steps, warmup_target=LEARNING_RATE, warmup_steps=steps // 20
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=1e-3)
    model.compile(optimizer=optimizer, loss=loss, jit_compile=False)
    model.fit(inputs, targets, batch_size=batch, epochs=epochs, verbose=2)
