"""Prediction sets of an ensemble, from the out-of-fold predictions of all its images.

Barber, Candes, Ramdas and Tibshirani 2021, https://arxiv.org/abs/1905.02928 (CV+), for classes
Romano, Sesia and Candes 2020, https://arxiv.org/abs/2006.02544; class by class, as the split
conformal sets of one net are. Each held-out image has the score 1 - probability of its class, by
the nets that have not seen it. A new image gets as many scores for a class as there are folds, and
each is compared with the held-out scores of its own fold: the class is in the set unless too few
of these are as large.

For images that are exchangeable with the held-out ones the set holds the true class with at least
the frequency 1 - 2 (1 - level), less a term that vanishes with many folds or images; in practice
it is near `level`. With fewer than 1 / (1 - level) - 1 images of a class nothing can be excluded.

Example: level 0.9 and 19 held-out images of a class: it is in the set where at least two of their
scores are as large as the new image's, since (2 - 1 + 1) / 20 reaches 0.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from knee.storage.arrays import Floats, Integers, Truth


@dataclass(frozen=True)
class CrossConformal:
    """Held-out scores, by class and fold."""

    scores: Sequence[Sequence[Floats]]  # [class][fold], each sorted
    level: float  # 0-1, of the frequency that is aimed at

    @property
    def counts(self) -> Integers:
        """(classes,) held-out images of each class."""
        return np.array([sum(map(len, folds)) for folds in self.scores], np.int64)

    def needed(self, count: int) -> int:
        """Return how many of `count` scores have to be as large; 0: the class is in every set."""
        # The product of a decimal level may lie a hair above a whole number.
        return max(math.floor((1 - self.level) * (count + 1) + 1e-9), 0)

    def sets(self, folds: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
        """Return (records, classes) which classes are in each record's set.

        `folds` are probabilities (records, folds, classes); NaN is in no set.
        """
        own = 1 - np.asarray(folds, np.float64)
        inside = np.zeros((own.shape[0], own.shape[2]), np.bool_)
        for number, of_class in enumerate(self.scores):
            as_large = sum(
                len(held) - np.searchsorted(held, own[:, fold, number], side="left")
                for fold, held in enumerate(of_class)
            )
            inside[:, number] = as_large >= self.needed(sum(map(len, of_class)))
        inside[~np.isfinite(own).all(axis=(1, 2))] = False
        return inside


def learn(
    truth: Truth, probabilities: Floats, fold: Integers, folds: int, level: float
) -> CrossConformal:
    """Learn from out-of-fold `probabilities` (records, classes), whose nets are those of `fold`."""
    found = []
    for number in range(probabilities.shape[1]):
        own = truth == number
        score = 1 - probabilities[:, number]
        found.append([np.sort(score[own & (fold == one)]) for one in range(folds)])
    return CrossConformal(found, level)
