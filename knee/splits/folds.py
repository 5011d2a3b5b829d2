"""Repeated, stratified, grouped folds: no group on both sides, classes in like shares.

Shortcuts and models are judged on these: the same records and seed give both the same folds, so
that their figures can be compared in pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from knee.storage.arrays import Integers

Folds = list[tuple[Integers, Integers]]  # positions to train on, positions to predict


def repeated_folds(
    labels: npt.NDArray[np.integer[Any]],
    groups: npt.NDArray[np.integer[Any]],
    *,
    folds: int,
    repeats: int,
    seed: int,
) -> list[Folds]:
    """Return `repeats` times folds that hold every record out once; empty where there are none.

    Args:
        labels: (records,) class indices.
        groups: (records,) records with the same value stay together.
        folds: >= 2; fewer where a class has fewer groups.
        repeats: each with other folds.
        seed: of the first repeat; the next ones count up from it.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    present = np.unique(labels)
    least = min((len(np.unique(groups[labels == one])) for one in present), default=0)
    count = min(folds, least)
    if len(present) < 2 or count < 2:
        return []
    found = []
    for number in range(repeats):
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed + number)
        parts = [*splitter.split(labels, labels, groups)]
        found.append([(train, held) for train, held in parts if len(train) and len(held)])
    return found
