"""Training of a head and of fine-tuned layers: one call of `keras.Model.fit`, one callback."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from knee.classifier.features.feature_source import TrainingData
from knee.classifier.net import batch_norms
from knee.classifier.training import inputs
from knee.classifier.training.checkpoints import Progress, SavesState, TrainingState
from knee.run.errors import UserError
from knee.storage.arrays import Integers

log = logging.getLogger(__name__)
SEED_STATE = "seed_generator_state"  # Keras' name for what its random layers draw from
MOST_STEPS_AT_ONCE = 16  # without coming back to Python
EpochReport = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Optimisation:
    """Settings of the optimisation, named as in the parameters' section `train`.

    The schedule is "constant" or falls by "cosine" to zero at the last epoch, set once an epoch.
    Few validation records choose an epoch by luck: to keep the "last" one never stops early.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: int = 0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    soft_label_deviation: float = 0.0
    early_stopping_patience: int = 0
    keep_epoch: Literal["best", "last"] = "best"
    seed: int = 42

    def rate(self, epoch: int) -> float:
        """Learning rate of `epoch` (from 0)."""
        if epoch < self.warmup_epochs:
            return self.learning_rate * (epoch + 1) / (self.warmup_epochs + 1)
        if self.schedule == "constant":
            return self.learning_rate
        length = max(self.epochs - self.warmup_epochs, 1)
        return (
            self.learning_rate * (1 + math.cos(math.pi * (epoch - self.warmup_epochs) / length)) / 2
        )


def compile_model(model: keras.Model, optimisation: Optimisation) -> None:
    """Adam and cross-entropy; call it inside the strategy's scope."""
    model.compile(
        optimizer=FusedAdam(
            learning_rate=optimisation.learning_rate,
            weight_decay=optimisation.weight_decay or None,
        ),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=optimisation.label_smoothing),
        metrics=["accuracy"],
    )
    # Its variables must exist before a checkpoint's state can be loaded into them.
    model.optimizer.build(model.trainable_variables)
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:  # on several Keras does it
        # Those of the metrics, too: a step that makes variables is traced twice.
        some = np.zeros(model.output_shape[1:], np.float32)[np.newaxis]
        model.compute_metrics(None, some, some)
        model.reset_metrics()


def fit(
    model: keras.Model,
    data: TrainingData,
    optimisation: Optimisation,
    augmentation: inputs.Augmentation,
    checkpoints: TrainingState,
    *,
    on_epoch: EpochReport | None = None,
    one_by_one: bool = False,
) -> Progress:
    """Train the compiled `model` in place, leave it with the weights of the chosen epoch.

    The state is kept in `checkpoints` after each epoch, and found there after a crash. `on_epoch`
    is called after each epoch with the epoch (from 0) and its row of the history. `one_by_one`
    comes back to Python after each step, and logs epochs as details. How many steps run as one is
    traced into the model: one that is trained again, on another number of rows, needs this.

    Raises:
        UserError: the loss is no number any more.
    """
    progress = checkpoints.restore(model)
    remaining = range(progress.epochs_done, optimisation.epochs)
    if progress.epochs_done:
        log.info("resuming after epoch %d of %d", progress.epochs_done, optimisation.epochs)
    if remaining and not exhausted(progress, optimisation):
        batches = inputs.training_batches(
            data,
            augmentation,
            targets=inputs.targets(data.classes, optimisation.soft_label_deviation),
            batch_size=optimisation.batch_size,
            epochs=remaining,
            seed=optimisation.seed,
        )
        level = logging.DEBUG if one_by_one else logging.INFO
        epochs = Epochs(optimisation, progress, checkpoints, on_epoch, level)
        callback = _EpochEnd(epochs, data)
        steps = max(len(data.training.rows) // optimisation.batch_size, 1)
        alone = model.distribute_strategy.num_replicas_in_sync == 1  # the loop fails on several
        if alone and not one_by_one:
            model.steps_per_execution = steps_at_once(steps)
        with batch_norms.fused(model) if alone else contextlib.nullcontext():
            model.fit(
                batches,
                epochs=optimisation.epochs,
                initial_epoch=progress.epochs_done,
                steps_per_epoch=steps,
                callbacks=[callback],
                shuffle=False,
                verbose=0,
            )
    checkpoints.restore_best(model)
    return progress


def steps_at_once(steps: int) -> int:
    """Return how many of `steps` run as one: a divisor, so that every epoch ends in time."""
    return max(count for count in range(1, MOST_STEPS_AT_ONCE + 1) if steps % count == 0)


def cross_entropy(class_indices: Integers, probabilities: npt.NDArray[np.float32]) -> float:
    """Mean negative logarithm of the true class's probability, in nats."""
    chosen = probabilities[np.arange(len(class_indices)), class_indices].astype(np.float64)
    return float(-np.log(np.clip(chosen, 1e-7, 1.0)).mean())


def exhausted(progress: Progress, optimisation: Optimisation) -> bool:
    """Whether early stopping has waited long enough for a better epoch."""
    waited = progress.epochs_done - 1 - progress.best_epoch
    return 0 < optimisation.early_stopping_patience <= waited


def epoch_line(row: dict[str, float], epochs: int, seconds: float) -> str:
    """Return what the log says of an epoch of `epochs`; `row` is that of the history."""
    figures = "  ".join(
        f"{name} {row[name]:.{digits}f}"
        for name, digits in (("loss", 4), ("accuracy", 3), ("val_loss", 4), ("val_accuracy", 3))
    )
    return f"epoch {row['epoch'] + 1}/{epochs}  {figures}  {seconds:.1f} s"


def _reseed(model: keras.Model, seed: int, epoch: int, worker: int) -> None:
    """Noise and dropout as a function of (seed, epoch, worker): Keras saves no state of theirs."""
    states = [variable for variable in model.variables if variable.name == SEED_STATE]
    for number, state in enumerate(states):
        entropy = (seed, number, epoch, worker) if worker else (seed, number, epoch)
        words = np.random.SeedSequence(entropy).generate_state(2)
        state.assign((words >> 1).astype(state.dtype))


@dataclass(eq=False)
class Epochs:
    """What begins and ends an epoch in every loop over batches: rate, record, checkpoint."""

    optimisation: Optimisation
    progress: Progress
    checkpoints: SavesState
    on_epoch: EpochReport | None = None
    log_level: int = logging.INFO
    worker: int = 0  # its number where several train together
    _started: float = 0.0

    def begin(self, model: keras.Model, epoch: int) -> None:
        """Set the learning rate and the seeds of `epoch` (from 0)."""
        self._started = time.perf_counter()
        model.optimizer.learning_rate = self.optimisation.rate(epoch)
        _reseed(model, self.optimisation.seed, epoch, self.worker)

    def end(
        self,
        model: keras.Model,
        epoch: int,
        logs: Mapping[str, Any],
        truth: Integers,
        probabilities: npt.NDArray[np.float32],
    ) -> bool:
        """Record `epoch` and keep its state; return whether the training goes on.

        `logs` are Keras' loss and accuracy of the training rows, `truth` the classes of the
        validation rows, whose `probabilities` are (rows, classes).

        Raises:
            UserError: the loss is no number any more.
        """
        row = {
            "epoch": epoch,
            "learning_rate": self.optimisation.rate(epoch),
            "loss": float(logs["loss"]),
            "accuracy": float(logs["accuracy"]),
            "val_loss": cross_entropy(truth, probabilities),
            "val_accuracy": float((probabilities.argmax(axis=1) == truth).mean()),
        }
        if not (math.isfinite(row["loss"]) and math.isfinite(row["val_loss"])):
            raise UserError(
                f"the training diverged at epoch {epoch + 1}: its loss is no number any more; "
                "lower train.learning_rate (train.probe_learning_rate if it is the probe)"
            )
        self._record(epoch, row)
        self.checkpoints.save(model, self.progress)
        if self.on_epoch:
            self.on_epoch(epoch, row)
        return not exhausted(self.progress, self.optimisation)

    def _record(self, epoch: int, row: dict[str, float]) -> None:
        self.progress.history.append(row)
        self.progress.epochs_done = epoch + 1
        if self.optimisation.keep_epoch == "last" or row["val_loss"] < self.progress.best_loss:
            self.progress.best_loss, self.progress.best_epoch = row["val_loss"], epoch
        seconds = time.perf_counter() - self._started
        log.log(self.log_level, "%s", epoch_line(row, self.optimisation.epochs, seconds))


@dataclass(eq=False)
class _EpochEnd(keras.callbacks.Callback):  # type: ignore[misc]
    """Calls `epochs` from Keras' loop, and predicts the validation rows for it."""

    epochs: Epochs
    data: TrainingData

    def __post_init__(self) -> None:
        super().__init__()
        size = self.epochs.optimisation.batch_size
        self._checked = inputs.padded_batches(self.data.source, self.data.validation.rows, size)

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        del logs
        self.epochs.begin(self.model, epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        truth = self.data.validation.class_indices
        probabilities = self.model.predict(self._checked, verbose=0)[: len(truth)]
        if not self.epochs.end(self.model, epoch, logs, truth, probabilities):
            self.model.stop_training = True


class FusedAdam(keras.optimizers.Adam):  # type: ignore[misc]  # Keras is untyped here
    """Adam with TensorFlow's fused kernel; variables and formula are those of Keras' Adam.

    On several devices Keras' own update runs: the kernel knows nothing of mirrored variables.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Change `variable` and its two moments by `gradient`."""
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations.value + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, variable.dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, variable.dtype), step),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, variable.dtype),
        )
