"""What a classifier makes of an image besides its class: the features that its head reads.

They are the map `FEATURE_MAP`, averaged over its positions. Probabilities and features come out of
one graph as one row, (classes + channels,), so that an engine needs a single pass and output.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from knee.classifier.net.assembly import FEATURE_MAP
from knee.classifier.net.heads import PROBABILITIES
from knee.evidence.uncertainty.prediction_limits import Observed


def with_features(model: keras.Model) -> keras.Model:
    """Raw pixels -> (batch, classes + channels), float32, sharing the variables of `model`.

    Args:
        model: a whole classifier: its last two layers are the frozen backbone and the head.
    """
    frozen, trained = model.layers[-2:]
    return keras.Model(
        model.input, joint_outputs(trained)(frozen(model.input)), name="with_features"
    )


def split_outputs(rows: npt.NDArray[np.float32], classes: int) -> Observed:
    """Rows of `with_features` -> probabilities (n, classes) and features (n, channels)."""
    return Observed(rows[:, :classes], rows[:, classes:])


def apply_temperature(model: keras.Model, temperature: float) -> None:
    """Divide the logits by `temperature`, > 0, within the last dense layer of `model`."""
    last = model.layers[-1].get_layer(PROBABILITIES)
    for variable in (last.kernel, last.bias):
        variable.assign(np.asarray(variable) / np.float32(temperature))


def joint_outputs(trained: keras.Model) -> Any:
    """Return the head with the averaged feature map beside its probabilities."""
    pool = layers.GlobalAveragePooling2D(dtype="float32", name="average")
    features = pool(trained.get_layer(FEATURE_MAP).output)
    rows = layers.Concatenate(dtype="float32", name="rows")([trained.output, features])
    return keras.Model(trained.input, rows, name="joint")
