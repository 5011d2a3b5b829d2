"""Results of the finished folds, one small file a fold, so that a killed run goes on."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from knee.storage import artifacts, provenance
from knee.storage.arrays import Floats

log = logging.getLogger(__name__)

UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)
RESULTS = "folds-*/repeat*_fold*.json"  # of any key


@dataclass(frozen=True)
class FoldResult:
    """Predictions of one fold's training."""

    probabilities: Floats  # (held-out records, classes), in the fold's order
    best_epoch: int  # from 0
    epochs: int  # trained


class FoldResults:
    """Files `repeat<R>_fold<F>.json` in a folder named by the `key` of all that decides them.

    Results of another key are removed: a changed parameter never resumes old ones.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._current = folder / f"folds-{key}"
        for stale in folder.glob("folds-*"):
            if stale != self._current:
                shutil.rmtree(stale, ignore_errors=True)

    def find(self, repeat: int, fold: int, shape: tuple[int, int]) -> FoldResult | None:
        """Return the result with probabilities of `shape`; None where none can be read."""
        path = self._path(repeat, fold)
        try:
            found = _read(path)
        except FileNotFoundError:
            return None
        except UNREADABLE:
            log.warning("%s is damaged: the fold is trained again", path)
            return None
        return found if found.probabilities.shape == shape else None

    def keep(self, repeat: int, fold: int, result: FoldResult) -> None:
        """Store the result of a finished fold."""
        values = {
            "best_epoch": result.best_epoch,
            "epochs": result.epochs,
            "probabilities": np.asarray(result.probabilities, np.float64).tolist(),
        }
        artifacts.write_json(self._path(repeat, fold), provenance.sealed(values))

    def _path(self, repeat: int, fold: int) -> Path:
        return self._current / f"repeat{repeat}_fold{fold}.json"


def damage(path: Path) -> str:
    """Return what is wrong with the file of a fold, "" if nothing."""
    try:
        _read(path)
    except UNREADABLE as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _read(path: Path) -> FoldResult:
    values = json.loads(path.read_text(encoding="utf-8"))
    if provenance.seal_is_broken(values):
        raise ValueError("a value was changed")
    probabilities = np.array(values["probabilities"], np.float64)
    return FoldResult(probabilities, int(values["best_epoch"]), int(values["epochs"]))
