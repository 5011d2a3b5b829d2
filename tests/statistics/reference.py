"""The figures of `scores` as scikit-learn computes them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from sklearn import metrics

from knee.statistics import scores

Classes = npt.NDArray[np.int64]
Chances = npt.NDArray[np.float64]


def kappa(truth: Classes, predicted: Classes, classes: int) -> float:
    if len(np.union1d(truth, predicted)) < 2:
        return math.nan
    labels = np.arange(classes)
    return float(metrics.cohen_kappa_score(truth, predicted, labels=labels, weights="quadratic"))


def macro_auc(truth: Classes, chances: Chances) -> float:
    present = np.unique(truth)
    if len(present) < 2:
        return math.nan
    return float(np.mean([metrics.roc_auc_score(truth == k, chances[:, k]) for k in present]))


def figures(truth: Classes, chances: Chances) -> dict[str, float]:
    """{metric: value} of every metric of `scores.HEADLINE`; NaN where it is not defined."""
    predicted, classes = chances.argmax(axis=1), chances.shape[1]
    median = scores.median_class(chances)
    confidence = chances.max(axis=1)
    bins = scores.calibration_bins(confidence)
    excess = np.bincount(bins, confidence - (truth == predicted))
    present = np.unique(truth)
    return {
        "accuracy": metrics.accuracy_score(truth, predicted),
        "balanced_accuracy": metrics.recall_score(
            truth, predicted, labels=present, average="macro"
        ),
        "macro_f1": metrics.f1_score(truth, predicted, average="macro"),
        "weighted_f1": metrics.f1_score(truth, predicted, average="weighted"),
        "quadratic_kappa": kappa(truth, predicted, classes),
        "median_class_accuracy": metrics.accuracy_score(truth, median),
        "median_class_kappa": kappa(truth, median, classes),
        "expected_class_kappa": kappa(truth, scores.expected_class(chances), classes),
        "macro_auc": macro_auc(truth, chances),
        "log_loss": metrics.log_loss(truth, chances, labels=np.arange(classes)),
        "expected_calibration_error": float(np.abs(excess).sum() / len(truth)),
    }


def per_class(truth: Classes, chances: Chances) -> npt.NDArray[np.float64]:
    """(4, classes) precision, recall, F1 and support; NaN where one is not defined."""
    columns = metrics.precision_recall_fscore_support(
        truth, chances.argmax(axis=1), labels=np.arange(chances.shape[1]), zero_division=np.nan
    )
    return np.array(columns, np.float64)
