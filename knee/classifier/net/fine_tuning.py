"""The fine-tuning depth: layers below it stay frozen, and run once per image.

With "head" the whole backbone is frozen, with "all" nothing is, with a layer's name the backbone
is frozen below that layer. Of several names, separated by spaces, each backbone takes its own.
"""

from __future__ import annotations

import keras
from keras import layers

from knee.classifier.net import backbones, batch_norms
from knee.classifier.net.design import BackboneDesign, DesignError

NORM_MOMENTUM = 0.9  # Keras' 0.99 lags behind in a training of some hundred steps


def split_backbone(
    design: BackboneDesign, *, adapt_norms: bool = False
) -> tuple[keras.Model, keras.Model | None]:
    """Return the frozen layers, and the backbone's trained layers above them (None: no layer).

    The frozen layers take raw pixels (batch, side, side, 1), 0-255, to features at the fine-tuning
    depth; where all is trained these are the pixels themselves. `adapt_norms` lets the pretrained
    batch norms of trained layers learn, too; else they keep the statistics and scales that they
    came with.

    Raises:
        DesignError: unknown backbone or layer, or missing weights.
    """
    base = backbones.build(design.name, design.side_pixels, design.weights)
    depth = _depth_tensor(base, design)
    pixels = keras.Input((design.side_pixels, design.side_pixels, 1), name="pixels")
    scaled = _scaled(pixels, design)
    if _channels_first():
        lower = keras.Model(base.input, layers.Permute((2, 3, 1))(depth), name="lower")
        return keras.Model(pixels, lower(scaled), name="frozen"), None
    fixed_norms = design.weights != "none" and not adapt_norms
    if depth is base.input:
        _set_norms(base, fixed=fixed_norms)
        untouched = layers.Activation("linear", name="untouched")(pixels)
        upper = keras.Model(pixels, base(scaled), name=f"{design.name}_upper")
        return keras.Model(pixels, untouched, name="frozen"), upper
    lower = keras.Model(base.input, depth, name=f"{design.name}_lower")
    frozen = keras.Model(pixels, lower(scaled), name="frozen")
    frozen.trainable = False
    if depth is base.output:
        return frozen, None
    upper = keras.Model(depth, base.output, name=f"{design.name}_upper")
    _set_norms(upper, fixed=fixed_norms)
    return frozen, upper


def _scaled(pixels: keras.KerasTensor, design: BackboneDesign) -> keras.KerasTensor:
    row = backbones.find(design.name)
    scale, offset = (1 / 255, 0.0) if design.unit_scaling else (row.scale, row.offset)
    gray = layers.Rescaling(scale, offset, name="scaling")(pixels)
    if _channels_first():
        gray = layers.Permute((3, 1, 2))(gray)
        return layers.Concatenate(axis=1, name="gray_to_rgb")([gray, gray, gray])
    return layers.Concatenate(name="gray_to_rgb")([gray, gray, gray])


def _channels_first() -> bool:
    """Whether layers are built for OpenVINO, which runs the frozen backbone alone."""
    return bool(keras.config.image_data_format() == "channels_first")


def _depth_tensor(base: keras.Model, design: BackboneDesign) -> keras.KerasTensor:
    if design.depth == "all":
        return base.input
    if design.depth == "head":
        return base.output
    own = [layer for layer in base.layers[1:] if layer.name in design.depth.split()]
    if len(own) == 1:
        return own[0].input
    found = "several layers" if own else "no layer"
    raise DesignError(
        f"model.train_from: {design.name} has {found} {design.depth!r}; give auto, head, all "
        f"or one of {', '.join(layer.name for layer in base.layers[1:])}"
    )


def _set_norms(model: keras.Model, *, fixed: bool) -> None:
    """Batch norms keep what they came with, or follow a short training."""
    for norm in batch_norms.of(model):
        norm.trainable = not fixed
        norm.momentum = NORM_MOMENTUM
