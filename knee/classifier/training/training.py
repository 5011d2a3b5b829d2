"""One training from arrays to a saved model: devices, parts, fit, whole model on disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from knee.classifier.features.feature_source import Source, Subset, TrainingData
from knee.classifier.net import assembly, devices, heads
from knee.classifier.net.design import BackboneDesign
from knee.classifier.net.devices import Precision
from knee.classifier.training import fit, inputs, probe
from knee.classifier.training.checkpoints import Checkpoints, Progress
from knee.storage.arrays import Integers


@dataclass(frozen=True)
class Plan:
    """Everything that decides a training but its data.

    Attributes:
        balance_classes: weight the loss by the inverse class frequency.
        devices: GPUs to use, 0 for all.
        probe: how the head alone is trained before pretrained layers are; None: not at all.
        adapt_norms: train the batch norms of pretrained layers with these.
    """

    backbone: BackboneDesign
    head: heads.HeadDesign
    classes: int
    optimisation: fit.Optimisation
    augmentation: inputs.Augmentation
    balance_classes: bool = False
    precision: Precision = "none"
    devices: int = 0
    probe: fit.Optimisation | None = None
    adapt_norms: bool = False

    @property
    def probes(self) -> fit.Optimisation | None:
        """How the head is trained alone before pretrained layers are fine-tuned with it, if so."""
        fine_tunes = self.backbone.weights != "none" and self.backbone.depth != "head"
        return self.probe if fine_tunes else None


Fitting = Callable[[keras.Model, Plan, TrainingData, Checkpoints, fit.EpochReport | None], Progress]


def planned(
    backbone: BackboneDesign, head: Mapping[str, Any], train: Mapping[str, Any], classes: int
) -> Plan:
    """The plan that the parameters' sections `head` and `train` ask for, given as plain values."""
    sizes = {name: value for name, value in head.items() if name != "design"}
    names = [field.name for field in dataclasses.fields(fit.Optimisation)]
    optimisation = fit.Optimisation(**{name: train[name] for name in names})
    probing = {"epochs": train["probe_epochs"], "learning_rate": train["probe_learning_rate"]}
    return Plan(
        backbone=backbone,
        head=heads.HeadDesign(published=head["design"] == "published", **sizes),
        classes=classes,
        optimisation=optimisation,
        augmentation=inputs.Augmentation(**train["augmentation"]),
        balance_classes=train["class_weights"],
        precision=train["mixed_precision"],
        devices=train["devices"],
        probe=dataclasses.replace(optimisation, **probing) if train["probe_epochs"] else None,
        adapt_norms=train["adapt_batch_norms"],
    )


def train(
    plan: Plan,
    source: Source,
    training: Subset,
    validation: Subset,
    checkpoints: Checkpoints,
    on_epoch: fit.EpochReport | None = None,
    fitting: Fitting | None = None,
) -> tuple[keras.Model, Progress]:
    """Train and return the whole model (raw pixels -> probabilities) and its history.

    `fitting` trains in the place of this process; not the head alone, before it.
    """
    parts, learner = build(plan)
    weights = class_weights(training.class_indices, plan)
    data = TrainingData(source, training, validation, plan.classes, weights)
    if plan.probes and not checkpoints.find():
        nested = checkpoints.nested("probe")
        probe.train_head(parts.trained, data, plan.probes, plan.augmentation, nested)
    progress = (fitting or _fit_here)(learner, plan, data, checkpoints, on_epoch)
    return parts.whole, progress


def _fit_here(
    learner: keras.Model,
    plan: Plan,
    data: TrainingData,
    checkpoints: Checkpoints,
    on_epoch: fit.EpochReport | None,
) -> Progress:
    return fit.fit(
        learner, data, plan.optimisation, plan.augmentation, checkpoints, on_epoch=on_epoch
    )


def build(
    plan: Plan, strategy: tf.distribute.Strategy | None = None
) -> tuple[assembly.Parts, keras.Model]:
    """The classifier from fresh weights, and what `fit.fit` trains of it, compiled.

    Without a `strategy` it is that of the plan's devices.
    """
    devices.make_deterministic(plan.optimisation.seed)
    devices.set_precision(plan.precision)
    with (strategy or devices.strategy(plan.devices)).scope():
        parts = assembly.build(plan.backbone, plan.head, plan.classes, adapt_norms=plan.adapt_norms)
        # A model of its own over the same layers: the saved one must not carry its optimizer.
        learner = keras.Model(parts.trained.input, parts.trained.output, name="learner")
        fit.compile_model(learner, plan.optimisation)
    return parts, learner


def class_weights(class_indices: Integers, plan: Plan) -> npt.NDArray[np.float32]:
    """(classes,) factors on the loss with mean 1 over the rows: rows / (classes x rows of class).

    The "balanced" heuristic of King and Zeng 2001, https://doi.org/10.1093/oxfordjournals.pan.a004868.
    """
    if not plan.balance_classes:
        return np.ones(plan.classes, np.float32)
    counts = np.bincount(class_indices, minlength=plan.classes)
    return (len(class_indices) / (plan.classes * np.maximum(counts, 1))).astype(np.float32)
