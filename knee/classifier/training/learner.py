"""A head, and backbone layers above the fine-tuning depth, built once and trained many times."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np

from knee.classifier.features.feature_source import Source, Subset, TrainingData
from knee.classifier.training import fit, inputs, training
from knee.classifier.training.checkpoints import BestWeights, Progress, TrainingState
from knee.evidence.evaluation.fold_results import FoldResult
from knee.storage.arrays import Floats, Integers


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
        rows: Subset,
        validation: Subset,
        held_out: Integers,
        seed: int,
    ) -> FoldResult:
        """Train afresh on `rows` and predict the rows `held_out`; as `fit`."""
        progress = self.fit(rows, validation, seed, BestWeights())
        probabilities = self.predict(held_out)
        return FoldResult(probabilities, progress.best_epoch, progress.epochs_done)

    def fit(self, rows: Subset, validation: Subset, seed: int, state: TrainingState) -> Progress:
        """Train afresh on `rows`; `validation` chooses the epoch, `state` keeps it.

        `seed` is that of the weights, order, noise and augmentation.
        """
        plan = self._plan
        self._start_afresh(seed)
        weights = training.class_weights(rows.class_indices, plan)
        return fit.fit(
            self._model,
            TrainingData(self._source, rows, validation, plan.classes, weights),
            dataclasses.replace(plan.optimisation, seed=seed),
            plan.augmentation,
            state,
            one_by_one=True,
        )

    def predict(self, rows: Integers) -> Floats:
        """Return probabilities (rows, classes)."""
        batches = inputs.padded_batches(self._source, rows, self._plan.optimisation.batch_size)
        return np.asarray(self._model.predict(batches, verbose=0)[: len(rows)])

    def _start_afresh(self, seed: int) -> None:
        """Fresh random weights; those from a file as they were there."""
        keras.utils.set_random_seed(seed)
        with self._model.distribute_strategy.scope():
            fresh = keras.models.clone_model(self._trained)
        for layer, new in zip(self._trained.layers, fresh.layers, strict=True):
            layer.set_weights(self._pretrained.get(layer.name) or new.get_weights())
        for variable, value in zip(self._model.optimizer.variables, self._optimizer, strict=True):
            variable.assign(value)
