"""Results of the finished folds, one small file a fold, so that a killed run goes on."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from knee.storage import artifacts
from knee.storage.arrays import Floats

log = logging.getLogger(__name__)


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
            values = json.loads(path.read_text(encoding="utf-8"))
            probabilities = np.array(values["probabilities"], np.float64)
            found = FoldResult(probabilities, int(values["best_epoch"]), int(values["epochs"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            log.warning("%s is damaged: the fold is trained again", path)
            return None
        return found if probabilities.shape == shape else None

    def keep(self, repeat: int, fold: int, result: FoldResult) -> None:
        """Store the result of a finished fold."""
        values = {
            "best_epoch": result.best_epoch,
            "epochs": result.epochs,
            "probabilities": np.asarray(result.probabilities, np.float64).tolist(),
        }
        artifacts.write_json(self._path(repeat, fold), values)

    def _path(self, repeat: int, fold: int) -> Path:
        return self._current / f"repeat{repeat}_fold{fold}.json"
