"""A whole classifier in the two parts that every saved one has: tiny, with random weights."""

from __future__ import annotations

from typing import Any


def classifier(side_pixels: int, classes: int = 3, activation: str = "relu") -> Any:
    """Raw pixels (batch, side, side, 1) -> probabilities (batch, classes); always the same."""
    import keras

    from knee.classifier.net.assembly import FEATURE_MAP
    from knee.classifier.net.heads import PROBABILITIES

    keras.utils.set_random_seed(3)
    pixels = keras.Input((side_pixels, side_pixels, 1))
    scaled = keras.layers.Rescaling(1 / 255)(pixels)
    frozen = keras.Model(pixels, keras.layers.Conv2D(32, 4, 4, activation=activation)(scaled))
    features = keras.Input(frozen.output.shape[1:])
    hidden = keras.layers.Activation("linear", name=FEATURE_MAP)(features)
    pooled = keras.layers.GlobalAveragePooling2D()(hidden)
    last = keras.layers.Dense(classes, "softmax", name=PROBABILITIES)
    head = keras.Model(features, last(pooled))
    return keras.Model(pixels, head(frozen(pixels)))
