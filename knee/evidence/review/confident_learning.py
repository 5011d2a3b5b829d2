"""Labels that out-of-fold predictions contradict: confident learning.

Northcutt, Jiang and Chuang 2021, Confident Learning: Estimating Uncertainty in Dataset Labels,
https://doi.org/10.1613/jair.1.12125, section 3.1: the off-diagonal counts of the confident joint. A
class is confidently predicted for an image where its probability is at least the mean that images
labelled so get; so a class of which the model is unsure everywhere needs less. The paper's estimate
of the share of wrong labels is left out: with a weak model it is far too high (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from knee.evidence.evaluation.predictions import PREFIX
from knee.storage.arrays import Floats, Integers, Probabilities

NOT_SUSPECTED = -1


@dataclass(frozen=True)
class Suspicions:
    """What confident learning says of the labels of records."""

    suggested: Integers  # (records,) confidently predicted class, where it is not the label; or -1
    margin: Floats  # (records,) probability of the label less the largest other one, -1 to 1

    def ranked(self) -> Integers:
        """Return the positions of suspected records, the smallest margin first."""
        order = np.lexsort((np.arange(len(self.margin)), self.margin))
        return np.asarray(order[self.suggested[order] != NOT_SUSPECTED])


def suspicions(labels: Integers, probabilities: Probabilities) -> Suspicions:
    """Return which `labels`, (records,) class indices, out-of-fold `probabilities` contradict.

    `probabilities` are (records, classes), of models that have not seen the record.
    """
    rows, classes = np.arange(len(labels)), probabilities.shape[1]
    counts = np.bincount(labels, minlength=classes)
    own = np.where(labels[:, None] == np.arange(classes), probabilities, 0.0)
    thresholds = np.where(counts > 0, own.sum(axis=0) / counts.clip(min=1), np.inf)
    above = np.where(probabilities >= thresholds, probabilities, -np.inf)
    confident = np.where(np.isfinite(above).any(axis=1), above.argmax(axis=1), NOT_SUSPECTED)
    others = probabilities.astype(np.float64)
    others[rows, labels] = -np.inf
    return Suspicions(
        np.where(confident == labels, NOT_SUSPECTED, confident),
        probabilities[rows, labels] - others.max(axis=1),
    )


def mean_predictions(tables: Sequence[pd.DataFrame], class_names: Sequence[str]) -> pd.DataFrame:
    """Return one row a record: the mean of its out-of-fold probabilities.

    The mean is over repeats of a model, then over models: `tables` are their out_of_fold.csv.
    Columns record, class_index and probability_<class>, by record.
    """
    keys = ["record", "class_index"]
    names = [f"{PREFIX}{name}" for name in class_names]
    means = [table.groupby(keys, as_index=False)[names].mean() for table in tables]
    joined = pd.concat(means, ignore_index=True)
    return joined.groupby(keys, as_index=False)[names].mean().sort_values("record")
