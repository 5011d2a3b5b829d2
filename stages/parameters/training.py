"""Parameters of features, model and optimisation."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Embed:
    """Features of the frozen part."""

    engine: Literal["auto", "tensorflow", "openvino"]  # auto: TensorFlow on GPUs, else OpenVINO
    precision: Literal["auto", "float32", "bfloat16"]  # auto: bfloat16 in OpenVINO where it is fast
    mirrored_view: bool  # also of the mirrored images, for the horizontal flip in training
    augmented_views: int  # of randomly changed images, for training to draw from
    seed: int  # of the augmented views


@dataclasses.dataclass(frozen=True)
class Model:
    """Backbones, and how much of them is trained."""

    backbones: tuple[str, ...]
    train_from: str  # auto | head | all | name of the first trained layer, of each backbone
    pixel_scaling: Literal["backbone", "unit"]  # unit: 0-1, as in the published recipe


@dataclasses.dataclass(frozen=True)
class Head:
    """What sits on the backbone's feature map."""

    design: Literal["default", "published"]
    squeeze_excitation: bool
    squeeze_ratio: int
    projection_channels: int  # 1 x 1 convolution before attention; 0: none
    attention: bool
    attention_heads: int
    dense_units: int  # 0: none
    dropout: float  # 0-1
    gaussian_noise: float  # standard deviation, on pooled features; 0: none


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes of training images; never a vertical flip."""

    horizontal_flip: bool
    rotation_degrees: float  # largest, either way
    translation_share: float  # largest, of the side
    zoom_share: float  # largest, either way
    brightness: float  # largest shift, in shares of 255
    contrast: float  # largest change of the factor 1
    mixup: float  # 0-1: concentration of the Beta distribution of shares; 0: nothing is mixed


@dataclasses.dataclass(frozen=True)
class Train:
    """Optimisation."""

    epochs: int
    batch_size: int  # global, over all devices
    learning_rate: float
    schedule: Literal["constant", "cosine"]
    warmup_epochs: int
    weight_decay: float  # decoupled; 0 is plain Adam
    label_smoothing: float  # 0-1
    soft_label_deviation: float  # classes: of soft ordinal labels; 0: one-hot
    probe_epochs: int  # of the head alone, before pretrained layers are trained; 0: none
    probe_learning_rate: float
    early_stopping_patience: int  # epochs; 0: never stops early
    keep_epoch: Literal["best", "last"]  # best: of the lowest validation loss
    adapt_batch_norms: bool  # statistics and scales, of pretrained layers that are trained
    class_weights: bool
    mixed_precision: Literal["none", "bfloat16", "float16"]
    devices: int  # GPUs to use; 0: all that are visible
    seed: int
    augmentation: Augmentation
