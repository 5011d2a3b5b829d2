"""Models on disk, and what a loaded one gives: probabilities, and features with or without them.

Models are written beside and moved into place, and read in Keras' safe mode. The features are the
map `FEATURE_MAP`, averaged over its positions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from knee.classifier.net import model_file
from knee.classifier.net.assembly import FEATURE_MAP
from knee.classifier.net.heads import FOLD_LOGITS, LOGITS, PROBABILITIES
from knee.run import progress
from knee.storage import artifacts, provenance
from knee.storage.arrays import Images, Pixels
from knee.storage.artifacts import ArtifactError


def save_model(model: keras.Model, path: Path) -> str:
    """Write `model` to `path` (.keras) and return the file's SHA-256."""
    with artifacts.staged_file(path) as staged:
        model.save(staged)
    return provenance.fingerprint(path)


def load_model(path: Path, sha256: str | None = None) -> keras.Model:
    """Load the model in `path` (.keras), without compilation; no code in the file is run.

    Raises:
        ArtifactError: the file is missing, has another SHA-256, or is no model for this Keras.
    """
    model_file.check(path, sha256)
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras, zipfile, h5py, JSON: each has its own
        said = (str(error).strip().splitlines() or [""])[0]
        raise ArtifactError(
            f"{path} cannot be loaded ({type(error).__name__}: {said[:200]}): run `dvc repro`"
        ) from error


def predict(model: keras.Model, pixels: Pixels, batch_size: int = 32) -> Images:
    """Return probabilities (rows, classes) of raw pixels (rows, side, side), 0-255."""
    images = np.asarray(pixels, np.float32)[..., np.newaxis]
    compute, found = _compiled(model), []
    with progress.shown("predictions", len(images), "images") as advance:
        for start in range(0, len(images), batch_size):
            found.append(np.asarray(compute(images[start : start + batch_size]), np.float32))
            advance(len(found[-1]))
    return np.concatenate(found)


def features(model: keras.Model, pixels: Pixels) -> Images:
    """Return features (rows, channels) of raw pixels (rows, side, side); no head is run for them.

    The heads of an ensemble take longer to be traced than a hundred images to be looked at.
    """
    frozen, trained = model.layers[-2:]
    averaged = averaged_map(trained)(frozen(model.input))
    return predict(keras.Model(model.input, averaged, name="features"), pixels)


@functools.lru_cache(maxsize=1)
def _compiled(model: keras.Model) -> Callable[[Images], Any]:
    """`model` as one graph for any number of rows; it is traced once, also for several calls."""
    import tensorflow as tf

    signature = [tf.TensorSpec(model.input.shape, tf.float32)]
    compiled: Callable[[Images], Any] = tf.function(
        lambda images: model(images, training=False), input_signature=signature, autograph=False
    )
    return compiled


def with_features(model: keras.Model) -> keras.Model:
    """Raw pixels -> (batch, outputs), float32, sharing the variables of `model`.

    The outputs are the probabilities, those of each fold of an ensemble, and the features.
    """
    frozen, trained = model.layers[-2:]
    rows = joint_outputs(trained)(frozen(model.input))
    return keras.Model(model.input, rows, name="with_features")


def apply_temperature(model: keras.Model, temperature: float) -> None:
    """Divide the logits by `temperature`, > 0, within the last dense layers of `model`."""
    for last in last_dense_layers(model.layers[-1]):
        for variable in (last.kernel, last.bias):
            variable.assign(np.asarray(variable) / np.float32(temperature))


def last_dense_layers(trained: keras.Model) -> list[keras.layers.Dense]:
    """Return the layers that give logits: one, or one of each member of an ensemble."""
    last = trained.get_layer(PROBABILITIES)
    if isinstance(last, layers.Dense):
        return [last]
    return [layer for layer in _all_layers(trained) if layer.name.startswith(LOGITS)]


def _all_layers(model: keras.Model) -> Iterator[keras.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _all_layers(layer)
        else:
            yield layer


def averaged_map(trained: keras.Model) -> keras.Model:
    """Return what lies below the head of `trained`: its input -> features (batch, channels)."""
    pool = layers.GlobalAveragePooling2D(dtype="float32", name="average")
    return keras.Model(trained.input, pool(trained.get_layer(FEATURE_MAP).output))


def joint_outputs(trained: keras.Model) -> keras.Model:
    """Return the head with, beside its probabilities, those of folds and the features."""
    folds = [
        layers.Softmax(dtype="float32", name=f"fold_{number}")(layer.output)
        for number, layer in enumerate(
            layer for layer in trained.layers if layer.name.startswith(FOLD_LOGITS)
        )
    ]
    rows = layers.Concatenate(dtype="float32", name="rows")(
        [trained.output, *folds, averaged_map(trained).output]
    )
    return keras.Model(trained.input, rows, name="joint")
