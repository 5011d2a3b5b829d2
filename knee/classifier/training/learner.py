"""A head, and backbone layers above the fine-tuning depth, built once and trained many times."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from knee.classifier.features.feature_source import Source
from knee.classifier.training import fit, inputs, training
from knee.classifier.training.checkpoints import BestWeights
from knee.storage.arrays import Integers


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One training and what it predicts.

    Attributes:
        probabilities: float32 (rows, classes) of the rows that were held out.
        best_epoch: epoch (from 0) whose weights predict.
        epochs: epochs trained.
    """

    probabilities: npt.NDArray[np.float32]
    best_epoch: int
    epochs: int


class Learner:
    """A head and upper layers, built once, trained afresh from each seed as if it were the first.

    Building Xception and tracing a training step take longer than training a head on some hundred
    rows of features.
    """

    def __init__(self, plan: training.Plan, source: Source) -> None:
        self._plan, self._source = plan, source
        parts, self._model = training.build(plan)
        self._trained = parts.trained
        self._optimizer = [np.array(variable) for variable in self._model.optimizer.variables]
        pretrained = plan.backbone.weights != "none"
        self._pretrained = {
            layer.name: layer.get_weights()
            for layer in self._trained.layers
            if pretrained and isinstance(layer, keras.Model)
        }

    def train(
        self,
        training_rows: tuple[Integers, Integers],
        validation: tuple[Integers, Integers],
        held_out: Integers,
        seed: int,
    ) -> Outcome:
        """Train afresh and predict `held_out`.

        Args:
            training_rows: rows trained on, repeats allowed, and their classes.
            validation: likewise those that choose the epoch.
            held_out: rows to predict.
            seed: of the weights, the order, noise and augmentation.
        """
        self._start_afresh(seed)
        weights = training.class_weights(training_rows[1], self._plan)
        data = fit.TrainingData(
            self._source,
            fit.Subset(*training_rows),
            fit.Subset(*validation),
            self._plan.classes,
            weights,
        )
        with _quiet():
            progress = fit.fit(
                self._model,
                data,
                dataclasses.replace(self._plan.optimisation, seed=seed),
                self._plan.augmentation,
                BestWeights(),
                one_by_one=True,
            )
        batches = inputs.padded_batches(self._source, held_out, self._plan.optimisation.batch_size)
        probabilities = self._model.predict(batches, verbose=0)[: len(held_out)]
        return Outcome(probabilities, progress.best_epoch, progress.epochs_done)

    def _start_afresh(self, seed: int) -> None:
        """Fresh random weights; those from a file as they were there."""
        keras.utils.set_random_seed(seed)
        with self._model.distribute_strategy.scope():
            fresh = keras.models.clone_model(self._trained)
        for layer, new in zip(self._trained.layers, fresh.layers, strict=True):
            layer.set_weights(self._pretrained.get(layer.name) or new.get_weights())
        values: list[Any] = self._optimizer
        for variable, value in zip(self._model.optimizer.variables, values, strict=True):
            variable.assign(value)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No line an epoch: there are hundreds of them."""
    level = fit.log.level
    fit.log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        fit.log.setLevel(level)
