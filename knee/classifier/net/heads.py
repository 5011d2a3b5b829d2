"""Heads: feature map of a backbone -> class probabilities.

Squeeze-and-excitation follows Hu et al. 2018 (https://arxiv.org/abs/1709.01507), the attention
block the pre-norm residual form of Xiong et al. 2020 (https://arxiv.org/abs/2002.04745).
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers

PROBABILITIES = "probabilities"  # name of the last layer
LOGITS = "logits_"  # what the last dense layer of each of an ensemble's members is called
FOLD_LOGITS = "fold_logits_"  # the mean of those of a fold


def fold_logits(fold: int) -> str:
    """Return the name of the layer with the mean logits of the members of `fold`."""
    return f"{FOLD_LOGITS}{fold}"


@dataclass(frozen=True)
class HeadDesign:
    """Which blocks a head has, and how large they are: the parameters' section `head`.

    `published` rebuilds the published recipe's head: the other fields give its sizes, the key size
    of each attention head is all channels, and the noise is on the feature map. Else the key size
    is channels / heads, and the noise is on what the dense layers read.
    """

    published: bool = False
    squeeze_excitation: bool = True
    squeeze_ratio: int = 16
    projection_channels: int = 64
    attention: bool = True
    attention_heads: int = 4
    dense_units: int = 0
    dropout: float = 0.3
    gaussian_noise: float = 0.1


def attach(features: keras.KerasTensor, classes: int, design: HeadDesign) -> keras.KerasTensor:
    """Probabilities (batch, classes), float32, from a feature map (batch, h, w, channels)."""
    hidden = _published(features, design) if design.published else _default(features, design)
    hidden = layers.Dropout(design.dropout, name="head_dropout")(hidden)
    return layers.Dense(classes, activation="softmax", dtype="float32", name=PROBABILITIES)(hidden)


def _default(features: keras.KerasTensor, design: HeadDesign) -> keras.KerasTensor:
    """The average of the feature map beside self-attention over a narrow copy of it.

    The gates of squeeze-and-excitation act on the average and on the narrow copy: the average of
    the gated map is the gated average, so the wide map itself is never rewritten.
    """
    pooled = layers.GlobalAveragePooling2D(name="pool")(features)
    squeezed = _squeeze(pooled, design.squeeze_ratio) if design.squeeze_excitation else None
    parts = [layers.LayerNormalization(name="pool_norm")(_excited(pooled, squeezed, "pool"))]
    if design.attention:
        narrow = features
        if design.projection_channels:
            narrow = layers.Conv2D(design.projection_channels, 1, name="projection")(features)
        height, width, channels = narrow.shape[1:]
        tokens = layers.Reshape((height * width, channels), name="tokens")(narrow)
        tokens = _residual_attention(_excited(tokens, squeezed, "tokens"), design)
        # The plain average beside it: attention alone learned more slowly on few images.
        parts.append(layers.GlobalAveragePooling1D(name="attended_pool")(tokens))
    hidden = layers.Concatenate(name="pooled")(parts) if len(parts) > 1 else parts[0]
    if design.gaussian_noise:
        hidden = layers.GaussianNoise(design.gaussian_noise, name="feature_noise")(hidden)
    if design.dense_units:
        hidden = layers.Dense(design.dense_units, activation="gelu", name="hidden")(hidden)
    return hidden


def _published(features: keras.KerasTensor, design: HeadDesign) -> keras.KerasTensor:
    """Attention as wide as the feature map, without residual or norm, then a dense layer."""
    hidden = features
    if design.squeeze_excitation:
        pooled = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(hidden)
        hidden = _excited(hidden, _squeeze(pooled, design.squeeze_ratio), "map")
    height, width, channels = hidden.shape[1:]
    tokens = layers.Reshape((height * width, channels), name="tokens")(hidden)
    tokens = layers.MultiHeadAttention(design.attention_heads, channels, name="attention")(
        tokens, tokens
    )
    hidden = layers.Reshape((height, width, channels), name="map")(tokens)
    hidden = layers.GaussianNoise(design.gaussian_noise, name="feature_noise")(hidden)
    hidden = layers.GlobalAveragePooling2D(name="pool")(hidden)
    hidden = layers.Dense(design.dense_units, activation="relu", name="hidden")(hidden)
    return layers.BatchNormalization(name="hidden_norm")(hidden)


def _squeeze(pooled: keras.KerasTensor, ratio: int) -> keras.KerasTensor:
    width = max(pooled.shape[-1] // ratio, 4)
    return layers.Dense(width, activation="relu", name="excite_down")(pooled)


def _excited(
    hidden: keras.KerasTensor, squeezed: keras.KerasTensor | None, name: str
) -> keras.KerasTensor:
    """`hidden` with each channel times its gate; without `squeezed` as it is."""
    if squeezed is None:
        return hidden
    channels = hidden.shape[-1]
    gate = layers.Dense(channels, activation="sigmoid", name=f"excite_{name}")(squeezed)
    if len(gate.shape) < len(hidden.shape):
        gate = layers.Reshape((1, channels), name=f"gate_{name}")(gate)
    return layers.Multiply(name=f"excited_{name}")([hidden, gate])


def _residual_attention(tokens: keras.KerasTensor, design: HeadDesign) -> keras.KerasTensor:
    normalised = layers.LayerNormalization(name="attention_norm")(tokens)
    attended = layers.MultiHeadAttention(
        design.attention_heads, tokens.shape[-1] // design.attention_heads, name="attention"
    )(normalised, normalised)
    return layers.Add(name="attended")([tokens, attended])
