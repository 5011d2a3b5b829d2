"""Backbone and head: the frozen layers, the trained ones, and the whole model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import keras
from keras import layers

from knee.classifier.net import backbones, heads
from knee.classifier.net.design import BackboneDesign
from knee.classifier.net.fine_tuning import split_backbone

FEATURE_MAP = "feature_map"  # layer whose output the head reads, and Grad-CAM explains


@dataclass(frozen=True)
class Parts:
    """A classifier in two parts that share their variables with `whole`.

    Attributes:
        frozen: raw pixels (batch, side, side, 1), 0-255 -> input of `trained`.
        trained: output of `frozen` -> probabilities (batch, classes).
        whole: raw pixels -> probabilities; what is saved.
    """

    frozen: keras.Model
    trained: keras.Model
    whole: keras.Model


def build(
    design: BackboneDesign, head: heads.HeadDesign, classes: int, *, adapt_norms: bool = False
) -> Parts:
    """The classifier of `classes` classes; call it inside the strategy's scope.

    `adapt_norms`: see `fine_tuning.split_backbone`.
    """
    frozen, upper = split_backbone(design, adapt_norms=adapt_norms)
    features = keras.Input(frozen.output.shape[1:], name="features")
    hidden = features if upper is None else upper(features)
    hidden = layers.Activation("linear", name=FEATURE_MAP)(hidden)
    if head.published and not backbones.find(design.name).published_squeeze:
        head = dataclasses.replace(head, squeeze_excitation=False)
    trained = keras.Model(features, heads.attach(hidden, classes, head), name="trained")
    pixels = keras.Input(frozen.input.shape[1:], name="pixels")
    whole = keras.Model(pixels, trained(frozen(pixels)), name=design.name)
    return Parts(frozen, trained, whole)


def split_at_feature_map(trained: keras.Model) -> tuple[keras.Model, keras.Model]:
    """The backbone's trained layers and the head, sharing their variables with `trained`."""
    feature_map = trained.get_layer(FEATURE_MAP).output
    return keras.Model(trained.input, feature_map), keras.Model(feature_map, trained.output)
