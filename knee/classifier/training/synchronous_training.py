"""One training by several processes, each with its part of every batch: the side of its stage.

The stage makes the net, keeps it as the state before the first epoch, waits for the workers
(training_worker.py) and goes on with the state that they leave. So a training of which a worker, or
the stage, was killed goes on after its last epoch.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final, Self

import keras
import numpy as np
from pydantic import TypeAdapter

from knee.classifier.features.feature_source import Source, Subset, TrainingData
from knee.classifier.training import fit, training
from knee.classifier.training.checkpoints import Checkpoints, Progress
from knee.execution.place import ExecutionError, WorkerLost
from knee.execution.worker_group import LOG, WorkerGroup
from knee.run.errors import UserError
from knee.storage import artifacts
from knee.storage.row_files import RowFile

WORKER: Final = "knee.classifier.training.training_worker"
WORK, ROWS = "work.json", "rows.npz"
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Work:
    """What the workers train, but for the rows; all paths are absolute.

    Attributes:
        epochs_done: of the state that they go on from.
    """

    plan: training.Plan
    checkpoints: Path
    key: str
    values: Path
    has_views: bool
    pixels: bool
    kinds: tuple[str, ...]
    epochs_done: int

    def write(self, folder: Path, data: TrainingData) -> None:
        """Put this and the rows of `data` into `folder`."""
        arrays = {
            "training": data.training.rows,
            "training_classes": data.training.class_indices,
            "validation": data.validation.rows,
            "validation_classes": data.validation.class_indices,
            "class_weights": data.class_weights,
        }
        if data.training.soft_labels is not None:
            arrays["soft_labels"] = data.training.soft_labels
        if data.source.images is not None:
            arrays["images"] = data.source.images
        with artifacts.staged_file(folder / ROWS) as staged, staged.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]  # its stubs know no keywords
        artifacts.write_bytes(folder / WORK, TypeAdapter(Work).dump_json(self))

    @classmethod
    def read(cls, folder: Path) -> tuple[Self, TrainingData]:
        """Return what `write` has put into `folder`."""
        work = TypeAdapter(cls).validate_json((folder / WORK).read_bytes())
        with np.load(folder / ROWS, allow_pickle=False) as arrays:
            found = {**arrays}
        values = RowFile(work.values, has_views=work.has_views)
        data = TrainingData(
            Source(values, work.pixels, work.kinds, found.get("images")),
            Subset(found["training"], found["training_classes"], found.get("soft_labels")),
            Subset(found["validation"], found["validation_classes"]),
            work.plan.classes,
            found["class_weights"],
        )
        return work, data


def train(
    group: WorkerGroup,
    learner: keras.Model,
    plan: training.Plan,
    data: TrainingData,
    checkpoints: Checkpoints,
    on_epoch: fit.EpochReport | None,
) -> Progress:
    """Have `group` train, and leave the compiled `learner` with the weights of the chosen epoch.

    A state is kept in `checkpoints` after each epoch, and found there after a crash; without one
    the training begins with the weights of `learner`.

    Raises:
        UserError: there are fewer rows than a batch has, or the loss is no number any more.
        ExecutionError: a worker did not come, or more were lost than the settings allow.
    """
    if len(data.training.rows) < plan.optimisation.batch_size:
        raise UserError(
            f"train.workers: {len(data.training.rows)} training rows are fewer than a batch "
            f"(train.batch_size: {plan.optimisation.batch_size}): give train.workers=1"
        )
    if not checkpoints.find():
        checkpoints.save(learner, Progress())
    follower = _Follower(checkpoints, plan.optimisation, on_epoch)
    for attempt in range(group.retries + 1):
        if follower.is_finished():
            break
        folder = _handed_over(plan, data, checkpoints, follower.told)
        try:
            group.run(WORKER, folder, follower.is_finished)
        except WorkerLost as lost:
            if attempt == group.retries:
                raise ExecutionError(
                    f"{lost}; {folder / LOG} has what it said; the same command goes on after "
                    f"epoch {follower.told}"
                ) from lost
            checkpoints.find()  # puts in order what a killed worker has left
            log.warning("%s: all workers begin again after epoch %d", lost, follower.told)
    checkpoints.restore_best(learner)
    return checkpoints.progress() or Progress()


def _handed_over(
    plan: training.Plan, data: TrainingData, checkpoints: Checkpoints, epochs_done: int
) -> Path:
    """A new folder with the work, in the place of an earlier one."""
    values = data.source.values
    if not isinstance(values, RowFile):
        raise TypeError("workers read features and pixels from their file")
    folder = checkpoints.folder.absolute() / "workers"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    work = Work(
        plan,
        checkpoints.folder.absolute(),
        checkpoints.key,
        values.path.absolute(),
        values.has_views,
        data.source.pixels,
        data.source.kinds,
        epochs_done,
    )
    made = Path(tempfile.mkdtemp(dir=folder))
    work.write(made, data)
    return made


class _Follower:
    """Reads from the checkpoints how far the workers are, and tells of each new epoch."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        optimisation: fit.Optimisation,
        on_epoch: fit.EpochReport | None,
    ) -> None:
        self._checkpoints, self._optimisation, self._on_epoch = checkpoints, optimisation, on_epoch
        found = checkpoints.progress()
        self.told = found.epochs_done if found else 0
        self._told_at = time.perf_counter()
        if self.told:
            log.info("resuming after epoch %d of %d", self.told, optimisation.epochs)

    def is_finished(self) -> bool:
        progress = self._checkpoints.progress()
        if progress is None:  # it is being replaced
            return False
        for epoch in range(self.told, progress.epochs_done):
            row = progress.history[epoch]
            seconds = time.perf_counter() - self._told_at
            log.info("%s", fit.epoch_line(row, self._optimisation.epochs, seconds))
            if self._on_epoch:
                self._on_epoch(epoch, row)
            self.told, self._told_at = epoch + 1, time.perf_counter()
        is_last = progress.epochs_done >= self._optimisation.epochs
        return is_last or fit.exhausted(progress, self._optimisation)
