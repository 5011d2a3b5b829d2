"""The table of backbones; a new row needs its name in run/parameter_types.py too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras

from knee.classifier.net.design import DesignError, check_weights
from knee.storage import provenance


@dataclass(frozen=True)
class Backbone:
    """A convolutional net without its classification top.

    It was pretrained on `pixels * scale + offset`, of raw pixels 0-255.

    Attributes:
        build: takes `input_shape` (height, width, 3) and `weights` (None, "imagenet" or a path).
        published_squeeze: whether the published recipe puts a squeeze-and-excitation block first.
    """

    build: Callable[..., keras.Model]
    scale: float
    offset: float
    published_squeeze: bool


BACKBONES: dict[str, Backbone] = {
    "mobilenet": Backbone(keras.applications.MobileNet, 1 / 127.5, -1.0, published_squeeze=True),
    "xception": Backbone(keras.applications.Xception, 1 / 127.5, -1.0, published_squeeze=False),
}


def find(name: str) -> Backbone:
    """The row of `name`; `DesignError` names the known ones."""
    if name not in BACKBONES:
        raise DesignError(
            f"model.backbones: unknown backbone {name!r}; known: {', '.join(BACKBONES)}"
        )
    return BACKBONES[name]


def weights_source(weights: str, name: str) -> str | None:
    """Return what `keras.applications` takes as `weights` of the backbone `name`.

    `weights` is "none", "imagenet" (Keras downloads them) or a folder with `<backbone>.h5`.

    Raises:
        DesignError: the folder has no file for this backbone.
    """
    if weights == "none":
        return None
    if weights == "imagenet":
        return "imagenet"
    check_weights(weights, name)
    return str(Path(weights) / f"{name}.h5")


def weights_fingerprint(weights: str, name: str) -> str:
    """Return the SHA-256 of the file of weights, or who provides them."""
    source = weights_source(weights, name)
    if source in (None, "imagenet"):
        return f"{weights} of Keras {keras.__version__}"
    return provenance.fingerprint(Path(str(source)))


def build(name: str, side_pixels: int, weights: str) -> keras.Model:
    """The bare backbone on (side, side, 3), scaled inputs, without its top."""
    shape = (side_pixels, side_pixels, 3)
    if keras.config.image_data_format() == "channels_first":
        shape = (3, side_pixels, side_pixels)
    source = weights_source(weights, name)
    model = find(name).build(input_shape=shape, include_top=False, weights=source)
    model.name = name
    return model
