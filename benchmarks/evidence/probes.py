"""A balanced logistic regression on averaged maps: the pipeline's probe, as probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from knee.evidence.comparison.models_and_baselines import INVERSE_PENALTY
from knee.storage.arrays import AnyFloats, Integers


class Turned:
    """Features standardised by the training rows, and turned into these rows' span.

    What lies outside the span cannot matter to a penalised linear model, and some hundred
    columns are fitted faster than thousands; predictions stay the same.

    Attributes:
        seen: (training rows, rank).
    """

    def __init__(self, train: AnyFloats) -> None:
        self._mean, spread = train.mean(axis=0), train.std(axis=0)
        self._spread = np.where(spread > 0, spread, 1)
        standard = ((train - self._mean) / self._spread).astype(np.float64)
        values, vectors = np.linalg.eigh(standard @ standard.T)
        kept = values > values[-1] * 1e-10
        self._axes = standard.T @ (vectors[:, kept] / np.sqrt(values[kept]))
        self.seen: AnyFloats = standard @ self._axes

    def __call__(self, rows: AnyFloats) -> AnyFloats:
        """(rows, rank)."""
        standard = ((rows - self._mean) / self._spread).astype(np.float64)
        return np.asarray(standard @ self._axes)


def fit(seen: AnyFloats, labels: Integers, inverse_penalty: float = INVERSE_PENALTY) -> Any:
    """A fitted scikit-learn model; classes weigh alike."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=inverse_penalty, class_weight="balanced", max_iter=1000)
    return model.fit(seen, labels)


def probe(
    train: AnyFloats, labels: Integers, test: AnyFloats, inverse_penalty: float = INVERSE_PENALTY
) -> AnyFloats:
    """Probabilities (test rows, classes); every class has to be among `labels`."""
    turned = Turned(train)
    return np.asarray(fit(turned.seen, labels, inverse_penalty).predict_proba(turned(test)))
