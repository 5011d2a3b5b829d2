"""Prediction sets that hold the true class with a chosen frequency, in every class.

Split conformal prediction, class by class (Mondrian: Vovk, Gammerman and Shafer 2005, Algorithmic
Learning in a Random World, section 4.5), with the score 1 - probability of the true class
(Sadinle, Lei and Wasserman 2019, https://arxiv.org/abs/1609.00451). A class belongs to a record's
set if its score there is at most the class's threshold: the ceil((n + 1) level)-th smallest of the
n scores of held-out records of that class. New records that are exchangeable with the held-out ones
are then covered with at least the frequency `level`. Radiographs of another hospital are not.

`truth` is int (records,), `probabilities` float (records, classes).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from knee.storage.arrays import Floats, Probabilities


def thresholds(
    truth: npt.NDArray[np.integer[Any]], probabilities: Probabilities, level: float
) -> Floats:
    """Return (classes,) the largest score that is still in the set.

    Infinite where a class has too few records for `level`, 0-1: it is in every set then.
    """
    scores = 1 - np.asarray(probabilities, np.float64)
    found = np.full(scores.shape[1], np.inf)
    for number in range(len(found)):
        own = np.sort(scores[truth == number, number])
        # The product of a decimal level may lie a hair above a whole number.
        rank = max(math.ceil((len(own) + 1) * level - 1e-9), 1)
        if rank <= len(own):
            found[number] = own[rank - 1]
    return found


def prediction_sets(probabilities: Probabilities, limits: Floats) -> npt.NDArray[np.bool_]:
    """Return (records, classes) which classes are in each record's set; a set may be empty."""
    inside: npt.NDArray[np.bool_] = 1 - np.asarray(probabilities, np.float64) <= limits
    return inside
