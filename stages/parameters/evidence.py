"""Parameters of what is said of a model, and of its registration."""

from __future__ import annotations

import dataclasses
from typing import Literal

from stages.parameters.training import Head


@dataclasses.dataclass(frozen=True)
class CrossValidate:
    """Repeated grouped folds."""

    folds: int  # >= 2; fewer where a class has fewer groups
    repeats: int  # each with other folds
    subset: Literal["all", "development"]  # development: without the test subset
    validation_share: float  # 0-1 of a fold's training records: they choose the epoch
    whole_backbone: bool  # also where that is trained: folds x repeats full trainings
    heads: dict[str, Head]  # other heads, by name, trained in the same folds for compare
    bootstrap_draws: int
    interval_level: float  # 0-1
    seed: int  # of folds, validation parts and draws; audit's: the same folds as its shortcuts


@dataclasses.dataclass(frozen=True)
class Caution:
    """What a trained model is to know about its own limits, from the validation subset."""

    calibration: Literal["temperature", "none"]
    set_level: float  # 0-1: frequency with which a prediction set is to hold the true class
    familiar_quantile: float  # 0-1 of validation images that are not called unlike the others


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Intervals and pictures."""

    bootstrap_draws: int
    interval_level: float  # 0-1
    worst_mistakes: int  # images on the contact sheet
    explained_images: int  # images on the Grad-CAM panel
    strangers_per_kind: int  # non-radiographs of each kind that unlikeness is tried on; 0: none
    seed: int


@dataclasses.dataclass(frozen=True)
class Compare:
    """Models beside baselines."""

    metric: Literal["macro_f1", "balanced_accuracy", "accuracy"]  # of the differences
    bootstrap_draws: int
    interval_level: float  # 0-1
    minimum_origin_groups: int  # fewer are not compared within an origin
    seed: int


@dataclasses.dataclass(frozen=True)
class Explain:
    """Explanations of test images, and the checks of them."""

    images: int  # test images that are explained and measured
    images_shown: int  # of each class, on the picture
    patch_share: float  # side of the gray patch / side of the image, above 0 to 1
    stride_share: float  # distance of its positions / side of the image, above 0 to 1
    most_forward_passes: int  # of images through the backbone, for occlusion
    bootstrap_draws: int
    interval_level: float  # 0-1
    seed: int


@dataclasses.dataclass(frozen=True)
class Register:
    """Choice and promotion."""

    model_name: str
    selection_metric: str  # of the validation subset, larger is better
    minimum_common_groups: int  # test groups shared with the champion, to compare at all
    minimum_probability: float  # 0-1: of being better than the champion, and than each shortcut
    maximum_calibration_error: float  # 0-1: the lower end of its interval, at most
    bootstrap_draws: int
    seed: int
