"""One of several processes that train a net together: TensorFlow's MultiWorkerMirroredStrategy.

Keras' `fit` fails under this strategy, its `train_step` does not: it divides the loss by the number
of workers, and its optimizer sums the gradients of all. Each worker prepares whole batches, the
same as one process would, and takes its part of each. Batch norms see a worker's part alone; their
moving means are averaged before an epoch is judged. The first worker alone saves.
"""

from __future__ import annotations

import functools
import itertools
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from knee.classifier.features.feature_source import TrainingData
from knee.classifier.net import devices
from knee.classifier.training import fit, inputs, training
from knee.classifier.training.checkpoints import Checkpoints, Progress
from knee.classifier.training.synchronous_training import Work
from knee.execution.worker_group import LATE_SECONDS, Worker
from knee.run.errors import UserError
from knee.storage.arrays import Integers

LOST_STATUS: Final = 3
A_PEER_IS_LOST: Final = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)
log = logging.getLogger(__name__)


def main(words: Sequence[str]) -> None:
    """Train as the worker that the command line and Slurm's variables name; it does not return.

    After an error the process ends at once: at Python's end TensorFlow would wait for the others.
    """
    worker = Worker.of(words, os.environ)
    worker.set_limits()
    named = f"worker {worker.number + 1} of {worker.count}: %(message)s"
    logging.basicConfig(level=logging.INFO, format=named)
    logging.getLogger("tensorflow").setLevel(logging.WARNING)  # it tells of every collective
    try:
        _train(worker)
        worker.wait_for_end()
    except A_PEER_IS_LOST:
        log.exception("another worker is lost")
        os._exit(LOST_STATUS)
    except Exception as error:
        log.exception("failed")
        worker.tell_failure(_told(error))
        os._exit(1)


def _told(error: Exception) -> str:
    """One line about `error`."""
    if isinstance(error, UserError | OSError):
        return str(error)
    first_line = next(iter(str(error).strip().splitlines()), "")[:300]
    return f"{type(error).__name__}: {first_line}"


def _train(worker: Worker) -> None:
    work, data = Work.read(worker.folder)
    devices.make_deterministic(work.plan.optimisation.seed)
    together = Together(worker.number, devices.workers_strategy(worker.meet(), worker.number))
    _, learner = training.build(work.plan, together.strategy)
    checkpoints = Checkpoints(work.checkpoints, work.key)
    progress = _restored(learner, checkpoints, work.epochs_done)
    together.sum([np.zeros(1, np.float32)])
    worker.tell_started()
    state = checkpoints if worker.number == 0 else _Follows()
    epochs = fit.Epochs(work.plan.optimisation, progress, state, worker=worker.number)
    _fit(learner, data, work.plan, epochs, together)


class _Follows:
    """The state of workers that do not save."""

    def save(self, model: keras.Model, progress: Progress) -> None:
        """Leave it to the first worker."""


class Together:
    """This worker among the others: every method has to be called by all of them."""

    def __init__(self, number: int, strategy: tf.distribute.Strategy) -> None:
        self.number, self.strategy = number, strategy
        self.count = strategy.num_replicas_in_sync

        @tf.function(autograph=False)  # type: ignore[untyped-decorator]
        def summed(values: list[tf.Tensor]) -> Any:
            return strategy.run(_sum_of_all, (values,))

        self._summed = summed

    def sum(self, values: list[Any]) -> list[Any]:
        """Return the sums over all workers of these arrays."""
        return [np.asarray(value) for value in self._summed([*map(tf.constant, values)])]

    def part(self, batch: Any) -> Any:
        """Return this worker's rows of a batch."""
        size = batch.shape[0] // self.count
        return batch[self.number * size : (self.number + 1) * size]


def _sum_of_all(values: list[tf.Tensor]) -> Any:
    here = [*map(tf.identity, values)]  # on the device of this replica, else it is on none
    return tf.distribute.get_replica_context().all_reduce("SUM", here)


def _restored(learner: keras.Model, checkpoints: Checkpoints, epochs_done: int) -> Progress:
    """The state after `epochs_done`: a file system of several machines may show it late."""
    end = time.monotonic() + LATE_SECONDS
    while True:
        found = checkpoints.progress()
        if found and found.epochs_done == epochs_done:
            return checkpoints.restore(learner)
        if time.monotonic() > end:
            raise UserError(
                f"{checkpoints.folder} does not hold the state after epoch {epochs_done}: all "
                "workers need the project on one file system, at the same path"
            )
        time.sleep(1)


def _fit(
    learner: keras.Model,
    data: TrainingData,
    plan: training.Plan,
    epochs: fit.Epochs,
    together: Together,
) -> None:
    """What `fit.fit` does, by all workers."""
    optimisation, size = plan.optimisation, plan.optimisation.batch_size
    remaining = range(epochs.progress.epochs_done, optimisation.epochs)
    batches = inputs.training_batches(
        data,
        plan.augmentation,
        targets=inputs.targets(data.classes, optimisation.soft_label_deviation),
        batch_size=size,
        epochs=remaining,
        seed=optimisation.seed,
    ).map(lambda *batch: tuple(map(together.part, batch)))
    parts = iter(batches.prefetch(tf.data.AUTOTUNE))

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def step(part: Any) -> None:
        together.strategy.run(learner.train_step, (part,))

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def answer(batch: tf.Tensor) -> tf.Tensor:
        return together.strategy.run(functools.partial(learner, training=False), (batch,))

    for epoch in remaining:
        epochs.begin(learner, epoch)
        learner.reset_metrics()
        for part in itertools.islice(parts, len(data.training.rows) // size):
            step(part)
        logs = learner.get_metrics_result()
        _average_statistics(learner, together)
        probabilities = _predicted(answer, data, size, together)
        if not epochs.end(learner, epoch, logs, data.validation.class_indices, probabilities):
            break


def _average_statistics(learner: keras.Model, together: Together) -> None:
    """Give all workers the mean of what their batch norms have seen."""
    variables = [one for one in learner.non_trainable_variables if "float" in one.dtype]
    if variables:
        sums = together.sum([np.asarray(one) for one in variables])
        for variable, value in zip(variables, sums, strict=True):
            variable.assign(value / together.count)


def _predicted(
    answer: Callable[[tf.Tensor], tf.Tensor], data: TrainingData, size: int, together: Together
) -> npt.NDArray[np.float32]:
    """Probabilities (rows, classes) of the validation rows, of which each worker predicts some."""
    rows: Integers = data.validation.rows
    own = np.array_split(np.arange(len(rows)), together.count)[together.number]
    probabilities = np.zeros((len(rows), data.classes), np.float32)
    if len(own):
        batches = inputs.padded_batches(data.source, rows[own], size)
        made = np.concatenate([np.asarray(answer(batch)) for batch in batches])
        probabilities[own] = made[: len(own)]
    summed: npt.NDArray[np.float32] = together.sum([probabilities])[0]
    return summed


if __name__ == "__main__":
    main(sys.argv[1:])
