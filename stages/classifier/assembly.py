"""Backbone + head -> the part that stays frozen, the part that is trained, and the whole model.

The cut between the first two is `train_from`: with "head" the whole backbone is frozen, with
"all" nothing is, with a layer's name the backbone is frozen below that layer. What lies below the
cut never changes, so its output is computed once per image.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers

from stages.classifier import backbones, heads

FEATURE_MAP = "feature_map"  # layer whose output the head reads, and Grad-CAM explains
SCRATCH_NORM_MOMENTUM = 0.9  # Keras' 0.99 lags behind in a training of some hundred steps


@dataclass(frozen=True)
class BackboneDesign:
    """What fixes the frozen part.

    Attributes:
        name: row of the table of backbones.
        side_pixels: side of the square input.
        weights: "none", "imagenet" or a folder with `<backbone>.h5`.
        train_from: "auto" (all without weights, else head), "head", "all" or a layer's name.
        unit_scaling: scale pixels to 0-1 instead of what the backbone was pretrained on.
    """

    name: str
    side_pixels: int
    weights: str = "none"
    train_from: str = "auto"
    unit_scaling: bool = False

    @property
    def cut(self) -> str:
        """`train_from` with "auto" resolved."""
        if self.train_from != "auto":
            return self.train_from
        return "all" if self.weights == "none" else "head"


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


def frozen_part(design: BackboneDesign) -> keras.Model:
    """Raw pixels (batch, side, side, 1) -> features at the cut; scaling only if the cut is "all".

    Raises:
        backbones.BackboneError: unknown backbone or layer, or missing weights.
    """
    return _split(design)[0]


def build(design: BackboneDesign, head: heads.HeadDesign, classes: int) -> Parts:
    """The classifier of `classes` classes; call it inside the strategy's scope."""
    frozen, upper = _split(design)
    features = keras.Input(frozen.output.shape[1:], name="features")
    hidden = features if upper is None else upper(features)
    hidden = layers.Activation("linear", name=FEATURE_MAP)(hidden)
    head = _fitted_head(head, design.name)
    trained = keras.Model(features, heads.attach(hidden, classes, head), name="trained")
    pixels = keras.Input(frozen.input.shape[1:], name="pixels")
    whole = keras.Model(pixels, trained(frozen(pixels)), name=design.name)
    return Parts(frozen, trained, whole)


def _fitted_head(head: heads.HeadDesign, backbone: str) -> heads.HeadDesign:
    if not head.published:
        return head
    squeeze = head.squeeze_excitation and backbones.find(backbone).published_squeeze
    return heads.HeadDesign(**{**vars(head), "squeeze_excitation": squeeze})


def _split(design: BackboneDesign) -> tuple[keras.Model, keras.Model | None]:
    base = backbones.build(design.name, design.side_pixels, design.weights)
    cut = _cut_tensor(base, design)
    row = backbones.find(design.name)
    scale, offset = (1 / 255, 0.0) if design.unit_scaling else (row.scale, row.offset)
    pixels = keras.Input((design.side_pixels, design.side_pixels, 1), name="pixels")
    scaled = layers.Rescaling(scale, offset, name="scaling")(pixels)
    scaled = layers.Concatenate(name="grey_to_rgb")([scaled, scaled, scaled])
    if cut is base.input:
        _adapt_norms(base, from_scratch=design.weights == "none")
        return keras.Model(pixels, scaled, name="frozen"), base
    lower = keras.Model(base.input, cut, name=f"{design.name}_lower")
    lower.trainable = False
    frozen = keras.Model(pixels, lower(scaled), name="frozen")
    frozen.trainable = False
    if cut is base.output:
        return frozen, None
    upper = keras.Model(cut, base.output, name=f"{design.name}_upper")
    _adapt_norms(upper, from_scratch=design.weights == "none")
    return frozen, upper


def _cut_tensor(base: keras.Model, design: BackboneDesign) -> keras.KerasTensor:
    if design.cut == "all":
        return base.input
    if design.cut == "head":
        return base.output
    try:
        return base.get_layer(design.cut).input
    except ValueError as error:
        raise backbones.BackboneError(
            f"model.train_from: {design.name} has no layer {design.cut!r}; give auto, head, all "
            f"or one of {', '.join(layer.name for layer in base.layers[1:])}"
        ) from error


def _adapt_norms(model: keras.Model, *, from_scratch: bool) -> None:
    """Pretrained batch norms keep their statistics; fresh ones follow a short training."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            if from_scratch:
                layer.momentum = SCRATCH_NORM_MOMENTUM
            else:
                layer.trainable = False
