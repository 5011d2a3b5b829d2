"""One training from arrays to a saved model: devices, parts, fit, whole model on disk."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt

from stages.classifier import assembly, devices, fit, heads, inputs
from stages.classifier.checkpoints import Checkpoints, Progress
from stages.classifier.design import BackboneDesign
from stages.classifier.features import Source


@dataclass(frozen=True)
class Plan:
    """Everything that decides a training but its data.

    Attributes:
        backbone: what is frozen, and from where on it is trained.
        head: what sits on it.
        classes: number of classes.
        optimisation: how it is trained.
        augmentation: random changes of training images.
        balance_classes: weight the loss by the inverse class frequency.
        precision: of the arithmetic.
        devices: GPUs to use, 0 for all.
    """

    backbone: BackboneDesign
    head: heads.HeadDesign
    classes: int
    optimisation: fit.Optimisation
    augmentation: inputs.Augmentation
    balance_classes: bool = False
    precision: devices.Precision = "none"
    devices: int = 0


def train(
    plan: Plan,
    source: Source,
    training: fit.Subset,
    validation: fit.Subset,
    checkpoints: Checkpoints,
    on_epoch: fit.EpochReport | None = None,
) -> tuple[keras.Model, Progress]:
    """Train and return the whole model (raw pixels -> probabilities) and its history."""
    devices.make_deterministic(plan.optimisation.seed)
    devices.set_precision(plan.precision)
    with devices.strategy(plan.devices).scope():
        parts = assembly.build(plan.backbone, plan.head, plan.classes)
        # A model of its own over the same layers: the saved one must not carry its optimizer.
        learner = keras.Model(parts.trained.input, parts.trained.output, name="learner")
        fit.compile_model(learner, plan.optimisation)
    progress = fit.fit(
        learner,
        source,
        training,
        validation,
        plan.optimisation,
        plan.augmentation,
        classes=plan.classes,
        class_weights=class_weights(training.class_indices, plan),
        checkpoints=checkpoints,
        on_epoch=on_epoch,
    )
    return parts.whole, progress


def class_weights(class_indices: inputs.Rows, plan: Plan) -> npt.NDArray[np.float32]:
    """(classes,) factors on the loss with mean 1 over the rows: rows / (classes x rows of class).

    The "balanced" heuristic of King and Zeng 2001, https://doi.org/10.1093/oxfordjournals.pan.a004868.
    """
    if not plan.balance_classes:
        return np.ones(plan.classes, np.float32)
    counts = np.bincount(class_indices, minlength=plan.classes)
    return (len(class_indices) / (plan.classes * np.maximum(counts, 1))).astype(np.float32)
