"""Heads: feature map of a backbone -> class probabilities.

Squeeze-and-excitation follows Hu et al. 2018 (https://arxiv.org/abs/1709.01507), the attention
block the pre-norm residual form of Xiong et al. 2020 (https://arxiv.org/abs/2002.04745).
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers

PROBABILITIES = "probabilities"  # name of the last layer


@dataclass(frozen=True)
class HeadDesign:
    """Which blocks a head has, and how large they are.

    Attributes:
        published: rebuild the published recipe's head; the other fields give its sizes.
        squeeze_excitation: reweight the channels of the feature map first.
        squeeze_ratio: channels / width of the squeeze.
        projection_channels: channels of the 1 x 1 convolution before attention, 0 for none.
        attention: multi-head self-attention over the positions of the feature map.
        attention_heads: heads; each has channels / heads (published: all channels) as key size.
        dense_units: width of the hidden dense layer, 0 for none.
        dropout: share of units dropped, 0-1.
        gaussian_noise: standard deviation of noise added while training, 0 for none.
    """

    published: bool = False
    squeeze_excitation: bool = True
    squeeze_ratio: int = 16
    projection_channels: int = 256
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
    hidden = features
    if design.squeeze_excitation:
        hidden = _squeeze_excitation(hidden, design.squeeze_ratio)
    hidden = layers.LayerNormalization(name="feature_norm")(hidden)
    if design.gaussian_noise:
        hidden = layers.GaussianNoise(design.gaussian_noise, name="feature_noise")(hidden)
    pooled = layers.GlobalAveragePooling2D(name="pool")(hidden)
    if design.attention:
        attended = _residual_attention(hidden, design)
        attended = layers.GlobalAveragePooling2D(name="attended_pool")(attended)
        # The plain average beside it: attention alone learned more slowly on few images.
        pooled = layers.Concatenate(name="pooled")([pooled, attended])
    hidden = pooled
    if design.dense_units:
        hidden = layers.Dense(design.dense_units, activation="gelu", name="hidden")(hidden)
    return hidden


def _published(features: keras.KerasTensor, design: HeadDesign) -> keras.KerasTensor:
    """Attention as wide as the feature map, without residual or norm, then a dense layer."""
    hidden = features
    if design.squeeze_excitation:
        hidden = _squeeze_excitation(hidden, design.squeeze_ratio)
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


def _squeeze_excitation(hidden: keras.KerasTensor, ratio: int) -> keras.KerasTensor:
    channels = hidden.shape[-1]
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(hidden)
    gate = layers.Dense(max(channels // ratio, 4), activation="relu", name="excite_down")(gate)
    gate = layers.Dense(channels, activation="sigmoid", name="excite_up")(gate)
    return layers.Multiply(name="excited")([hidden, gate])


def _residual_attention(hidden: keras.KerasTensor, design: HeadDesign) -> keras.KerasTensor:
    if design.projection_channels:
        hidden = layers.Conv2D(design.projection_channels, 1, name="projection")(hidden)
    height, width, channels = hidden.shape[1:]
    tokens = layers.Reshape((height * width, channels), name="tokens")(hidden)
    normalised = layers.LayerNormalization(name="attention_norm")(tokens)
    attended = layers.MultiHeadAttention(
        design.attention_heads, channels // design.attention_heads, name="attention"
    )(normalised, normalised)
    tokens = layers.Add(name="attended")([tokens, attended])
    return layers.Reshape((height, width, channels), name="attended_map")(tokens)
