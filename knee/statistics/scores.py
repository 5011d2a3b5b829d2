"""How good predicted probabilities are: the figures of test.json.

Throughout, `truth` is int (records,) with class indices, `probabilities` is float
(records, classes) with rows that sum to 1, and the predicted class is the most probable one, the
first of equals. A figure that the records do not define (kappa where all is one class, the AUC
where a class is absent from them all) is NaN here and None in `score`, never a made-up number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from knee.run.errors import UserError
from knee.storage.arrays import Probabilities, Truth

Metric = Callable[[Truth, Probabilities], float]

CALIBRATION_BINS: Final = 15
SIGNIFICANT_DIGITS: Final = 6  # of written probabilities: small ones matter to the log loss
LARGEST_SUM_ERROR: Final = 1e-3  # of a row's probabilities: what rounding and bfloat16 may cause


class ScoreError(UserError):
    """Truth and probabilities that cannot be scored, or a metric that does not exist."""


def score(truth: Truth, probabilities: Probabilities, class_names: Sequence[str]) -> dict[str, Any]:
    """All figures of one model on one set of records.

    Args:
        truth: int (records,), positions in `class_names`.
        probabilities: float (records, classes).
        class_names: in the order of the probabilities; for kappa, the order of the scale.

    Returns:
        The metrics of `HEADLINE`, and per_class.<name>.{precision, recall, f1, support}. None
        stands for what is not defined: precision of a class that is never predicted, recall of
        one without records, F1 of one that is neither.

    Raises:
        ScoreError: no records, or arrays that do not fit together.
    """
    from sklearn.metrics import precision_recall_fscore_support

    chances = checked(truth, probabilities)
    labels = np.arange(len(class_names))
    if chances.shape[1] != len(labels):
        raise ScoreError(f"{chances.shape[1]} probabilities a record, {len(labels)} class names")
    figures = {name: known(METRICS[name](truth, chances)) for name in HEADLINE}
    columns = precision_recall_fscore_support(
        truth, chances.argmax(axis=1), labels=labels, zero_division=np.nan
    )
    per_class = {
        str(name): {
            "precision": known(precision),
            "recall": known(recall),
            "f1": known(f1),
            "support": int(support),
        }
        for name, precision, recall, f1, support in zip(class_names, *columns, strict=True)
    }
    return {**figures, "per_class": per_class}


def lines(report: Mapping[str, Any]) -> list[str]:
    """A line for each metric of `HEADLINE` in a report with its `confidence_interval`."""
    bounds = report["confidence_interval"]
    return [
        f"{name:28} {report[name]}  ({bounds[name]['low']} to {bounds[name]['high']})"
        for name in HEADLINE
    ]


def metric(name: str) -> Metric:
    """The figure `name` of `HEADLINE` as a function (truth, probabilities) -> float or NaN.

    Raises:
        ScoreError: there is no such figure; the function raises it for arrays that do not fit.
    """
    if name not in METRICS:
        raise ScoreError(f"{name!r} is none of {', '.join(HEADLINE)}")
    return lambda truth, probabilities: METRICS[name](truth, checked(truth, probabilities))


def known(value: float) -> float | None:
    """`value` rounded to six decimals, or None for NaN."""
    return None if math.isnan(value) else round(float(value), 6)


def checked(truth: Truth, probabilities: Probabilities) -> npt.NDArray[np.float64]:
    """`probabilities` as float64.

    Raises:
        ScoreError: no records, shapes or class indices that do not fit, or rows that are no
            probabilities.
    """
    chances: npt.NDArray[np.float64] = np.asarray(probabilities, np.float64)
    if chances.ndim != 2 or not chances.size or len(truth) != len(chances):
        raise ScoreError(f"{len(truth)} records and probabilities of shape {chances.shape}")
    if truth.min() < 0 or truth.max() >= chances.shape[1]:
        raise ScoreError(f"class indices outside 0-{chances.shape[1] - 1}")
    sums = chances.sum(axis=1)
    if not (np.abs(sums - 1) <= LARGEST_SUM_ERROR).all() or chances.min() < 0:
        raise ScoreError("a row of probabilities is negative, NaN, or does not sum to 1")
    return chances


def rounded(probabilities: Probabilities) -> npt.NDArray[np.float64]:
    """`probabilities` as tables hold them: figures follow from these, so that anyone can check."""
    rows = [[float(f"{value:.{SIGNIFICANT_DIGITS}g}") for value in row] for row in probabilities]
    return np.array(rows, np.float64).reshape(probabilities.shape)


def calibration_bins(confidence: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Bin 0-14 of each confidence: equal widths, each bin open below and closed above."""
    bins: npt.NDArray[np.int64] = np.ceil(confidence * CALIBRATION_BINS).astype(np.int64) - 1
    return bins.clip(0, CALIBRATION_BINS - 1)  # 0, and sums a little above 1


def _accuracy(truth: Truth, probabilities: Probabilities) -> float:
    return float(np.mean(truth == probabilities.argmax(axis=1)))


def _balanced_accuracy(truth: Truth, probabilities: Probabilities) -> float:
    """Mean recall of the classes that have records."""
    from sklearn.metrics import recall_score

    present = np.unique(truth)
    return float(recall_score(truth, probabilities.argmax(axis=1), labels=present, average="macro"))


def _f1(average: str) -> Metric:
    """F1 over the classes that have records or are predicted; a class that is only one is 0."""

    def figure(truth: Truth, probabilities: Probabilities) -> float:
        from sklearn.metrics import f1_score

        return float(f1_score(truth, probabilities.argmax(axis=1), average=average))

    return figure


def _quadratic_kappa(truth: Truth, probabilities: Probabilities) -> float:
    """Cohen's kappa, disagreement weighted by the squared distance of the class indices."""
    return _kappa(truth, probabilities.argmax(axis=1), probabilities.shape[1])


def _expected_class_kappa(truth: Truth, probabilities: Probabilities) -> float:
    """The same of the rounded expected class, which errs by less where classes are a scale."""
    return _kappa(truth, expected_class(probabilities), probabilities.shape[1])


def _median_class_accuracy(truth: Truth, probabilities: Probabilities) -> float:
    return float(np.mean(truth == median_class(probabilities)))


def _median_class_kappa(truth: Truth, probabilities: Probabilities) -> float:
    """Quadratic kappa of the median class."""
    return _kappa(truth, median_class(probabilities), probabilities.shape[1])


def median_class(probabilities: Probabilities) -> npt.NDArray[np.int64]:
    """(records,) first class up to which half of the probability lies.

    Of all classes it has the smallest expected distance in steps of the scale, as the most probable
    one has the smallest chance to be wrong.
    """
    # Nine digits: how a sum is rounded must not decide what half is.
    reached = np.cumsum(np.asarray(probabilities, np.float64), axis=1).round(9) >= 0.5
    classes: npt.NDArray[np.int64] = reached.argmax(axis=1)
    return classes


def expected_class(probabilities: Probabilities) -> npt.NDArray[np.int64]:
    """(records,) sum of class index x probability, rounded, halves up."""
    expected = np.asarray(probabilities, np.float64) @ np.arange(probabilities.shape[1])
    # Nine digits first: how a sum is rounded must not decide what half is.
    classes: npt.NDArray[np.int64] = np.floor(expected.round(9) + 0.5).astype(np.int64)
    return classes.clip(0, probabilities.shape[1] - 1)


def _kappa(truth: Truth, predicted: npt.NDArray[np.int64], classes: int) -> float:
    from sklearn.metrics import cohen_kappa_score

    if len(np.union1d(truth, predicted)) < 2:
        return math.nan
    labels = np.arange(classes)  # absent classes keep their place on the scale
    return float(cohen_kappa_score(truth, predicted, labels=labels, weights="quadratic"))


def _macro_auc(truth: Truth, probabilities: Probabilities) -> float:
    """Area under the ROC curve, one class against the rest, mean of the classes with records."""
    from sklearn.metrics import roc_auc_score

    present = np.unique(truth)
    if len(present) < 2:
        return math.nan
    return float(np.mean([roc_auc_score(truth == k, probabilities[:, k]) for k in present]))


def _log_loss(truth: Truth, probabilities: Probabilities) -> float:
    """Mean negative natural logarithm of the true class's probability, clipped at 2.2e-16."""
    return float(surprise(truth, probabilities).mean())


def surprise(truth: Truth, probabilities: Probabilities) -> npt.NDArray[np.float64]:
    """(records,) negative natural logarithm of the true class's probability."""
    chosen = np.asarray(probabilities[np.arange(len(truth)), truth], np.float64)
    surprises: npt.NDArray[np.float64] = -np.log(chosen.clip(np.finfo(np.float64).eps))
    return surprises


def _expected_calibration_error(truth: Truth, probabilities: Probabilities) -> float:
    """Mean distance of confidence and accuracy over 15 bins of confidence, weighted by count.

    Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 2.
    """
    confidence = np.asarray(probabilities.max(axis=1), np.float64)
    excess = confidence - (truth == probabilities.argmax(axis=1))
    bins = calibration_bins(confidence)
    return float(np.abs(np.bincount(bins, excess)).sum() / len(truth))


METRICS: Final[dict[str, Metric]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": _f1("macro"),
    "weighted_f1": _f1("weighted"),
    "quadratic_kappa": _quadratic_kappa,
    "median_class_accuracy": _median_class_accuracy,
    "median_class_kappa": _median_class_kappa,
    "expected_class_kappa": _expected_class_kappa,
    "macro_auc": _macro_auc,
    "log_loss": _log_loss,
    "expected_calibration_error": _expected_calibration_error,
}
HEADLINE: Final = tuple(METRICS)
LARGER_IS_BETTER: Final = HEADLINE[:9]  # the others are errors
