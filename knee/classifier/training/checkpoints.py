"""The state of a training after an epoch, on disk, so that a killed training goes on from there.

Its files are on the disk before they get their place; a state that is damaged all the same is found
by its checksums, before a variable is touched.
"""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from knee.storage import artifacts, provenance

if TYPE_CHECKING:
    import keras

log = logging.getLogger(__name__)

LAST, BEST = "last.npz", "best.npz"  # all variables in their order; a tenth of the time of HDF5
PROGRESS = "progress.json"
STATES, PREVIOUS = "training-*", ".previous"  # folders of any key; kept while one is replaced


@dataclasses.dataclass
class Progress:
    """What has been trained so far.

    `history` has one row an epoch; `best_loss` is the validation loss of `best_epoch` (from 0), the
    epoch whose weights are kept: -1 before the first.
    """

    epochs_done: int = 0
    best_epoch: int = -1
    best_loss: float = float("inf")
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)


class Checkpoints:
    """Two files of variables and the progress, in a folder that appears whole or not at all.

    A folder belongs to one training, named by its `key` (its settings and data): another key
    starts afresh, so that a changed parameter never resumes an old state.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self.key = key
        self._current = folder / f"training-{key}"

    def nested(self, name: str) -> Checkpoints:
        """Those of a preparatory training of the same key; they go when these are cleared."""
        return Checkpoints(self.folder / name, self.key)

    def find(self) -> bool:
        """Return whether there is a state to go on from; a damaged one is set aside."""
        for state in (self._current, self._previous):
            if not state.exists():
                continue
            if not (fault := damage(state)):
                # A kill between the two renames of `_replace` leaves only the previous state.
                state.replace(self._current)
                return True
            shutil.rmtree(self._damaged, ignore_errors=True)
            state.replace(self._damaged)
            log.warning(
                "%s is damaged (%s) and set aside as %s: an earlier state is taken, or none",
                state,
                fault,
                self._damaged.name,
            )
        return False

    def save(self, model: keras.Model, progress: Progress) -> None:
        """Store weights with optimizer state, the best weights so far, and the progress."""
        staged = self.folder / ".staged"
        shutil.rmtree(staged, ignore_errors=True)
        try:
            with artifacts.naming(self._current):
                self._write(staged, model, progress)
            self._replace(staged)
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def restore(self, model: keras.Model) -> Progress:
        """Load the last state into `model`; an empty `Progress` where there is none."""
        if not self.find():
            return Progress()
        progress = _progress(self._current)
        _load(self._current / LAST, _state(model))
        return progress

    def progress(self) -> Progress | None:
        """Return how far the last state is; None while there is none, or it is being replaced."""
        try:
            return _progress(self._current)
        except (OSError, ValueError):
            return None

    def restore_best(self, model: keras.Model) -> None:
        """Load the weights of the best epoch into `model`."""
        _load(self._current / BEST, model.variables)

    def clear(self) -> None:
        """Remove the folder: the training's results are in place."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _previous(self) -> Path:
        return self._current.with_name(f"{self._current.name}{PREVIOUS}")

    @property
    def _damaged(self) -> Path:
        return self.folder / ".damaged"

    def _write(self, staged: Path, model: keras.Model, progress: Progress) -> None:
        staged.mkdir(parents=True)
        np.savez(staged / LAST, *(np.asarray(variable) for variable in _state(model)))
        is_best = progress.best_epoch == progress.epochs_done - 1
        source = staged / LAST if is_best else self._current / BEST
        artifacts.link(source, staged / BEST)
        values = provenance.sealed(dataclasses.asdict(progress))
        (staged / PROGRESS).write_text(json.dumps(values), encoding="utf-8")

    def _replace(self, staged: Path) -> None:
        artifacts.to_disk(staged)
        shutil.rmtree(self._previous, ignore_errors=True)
        if self._current.exists():
            self._current.replace(self._previous)
        staged.replace(self._current)
        artifacts.entry_to_disk(self.folder)
        shutil.rmtree(self._previous, ignore_errors=True)
        for stale in [*self.folder.glob(STATES), self._damaged]:
            if stale != self._current:
                shutil.rmtree(stale, ignore_errors=True)


class BestWeights:
    """The best weights in memory, for a training of seconds: after a crash it starts afresh."""

    def __init__(self) -> None:
        self._best: list[Any] = []

    def save(self, model: keras.Model, progress: Progress) -> None:
        """Keep the weights if they are the best so far."""
        if not self._best or progress.best_epoch == progress.epochs_done - 1:
            self._best = [np.array(variable) for variable in model.variables]

    def restore(self, model: keras.Model) -> Progress:
        """Return an empty `Progress`: nothing has been done before."""
        del model
        return Progress()

    def restore_best(self, model: keras.Model) -> None:
        """Give `model` the weights of the best epoch."""
        for variable, value in zip(model.variables, self._best, strict=True):
            variable.assign(value)


class EveryEpoch:
    """The weights of every epoch in files, for trainings that choose a common epoch afterwards.

    `last_only` keeps those of the last one.
    """

    def __init__(self, folder: Path, *, last_only: bool) -> None:
        self._folder, self._last_only = folder, last_only

    def save(self, model: keras.Model, progress: Progress) -> None:
        """Store the weights of an epoch."""
        epoch = progress.epochs_done - 1
        content = io.BytesIO()
        np.savez(content, *(np.asarray(value) for value in model.get_weights()))
        artifacts.write_bytes(self.path(epoch), content.getvalue())
        if self._last_only and epoch:
            self.path(epoch - 1).unlink(missing_ok=True)

    def restore(self, model: keras.Model) -> Progress:
        """Return an empty `Progress`: nothing has been done before."""
        del model
        return Progress()

    def restore_best(self, model: keras.Model) -> None:
        """Leave `model` as the last epoch left it."""

    def path(self, epoch: int) -> Path:
        """Return where the weights of `epoch`, from 0, are."""
        return self._folder / f"epoch_{epoch:05d}.npz"

    def weights(self, epoch: int) -> list[Any]:
        """Return the arrays of `epoch`, in the order of `keras.Model.get_weights`.

        Raises:
            ArtifactError: they are missing or damaged.
        """
        try:
            with self.path(epoch).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return [arrays[f"arr_{number}"] for number in range(len(arrays.files))]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise artifacts.ArtifactError(
                f"{self.path(epoch)} cannot be read ({error}): remove its folder, and the same "
                "command trains this member again"
            ) from error


TrainingState = Checkpoints | BestWeights | EveryEpoch  # what `fit` keeps after each epoch


class SavesState(Protocol):
    """What is given the state after each epoch."""

    def save(self, model: keras.Model, progress: Progress) -> None:
        """Keep it, or not."""


def states(folder: Path) -> list[Path]:
    """Return the states below `folder` with which trainings of any key would go on."""
    found = [state for state in folder.rglob(STATES) if state.is_dir()]
    replaced = {state.with_name(f"{state.name}{PREVIOUS}") for state in found}
    return [state for state in found if state not in replaced]


def damage(state: Path) -> str:
    """Return what is wrong with a state's folder, "" where all of it can be read."""
    try:
        _progress(state)
        for name in (LAST, BEST):
            with zipfile.ZipFile(state / name) as arrays:
                if broken := arrays.testzip():
                    return f"{name}: {broken} has another checksum"
    except Exception as error:  # zipfile and zlib have many for a file of noise
        return f"{type(error).__name__}: {error}"
    return ""


def _progress(state: Path) -> Progress:
    values: dict[str, Any] = json.loads((state / PROGRESS).read_text(encoding="utf-8"))
    if provenance.seal_is_broken(values):
        raise ValueError(f"{PROGRESS} was changed")
    values.pop(provenance.SEAL, None)  # a state of an earlier version has none
    return Progress(**values)


def _state(model: keras.Model) -> list[Any]:
    """All that an epoch changes: the model's variables first, then the optimizer's."""
    return [*model.variables, *model.optimizer.variables]


def _load(path: Path, variables: list[Any]) -> None:
    """Give `variables` the first values in `path`."""
    with np.load(path, allow_pickle=False) as arrays:
        for number, variable in enumerate(variables):
            variable.assign(arrays[f"arr_{number}"])
