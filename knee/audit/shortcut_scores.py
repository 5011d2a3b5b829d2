"""Scores of shortcuts: grouped cross-validation, intervals, a permutation test.

An alarm looks at balanced accuracy alone: on imbalanced classes a guess of the largest one has a
high accuracy and means nothing. Chance is one in the number of classes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from knee.audit.shortcuts import Fitted, Shortcut
from knee.splits.cross_validation import Folds, repeated_folds
from knee.statistics import scores
from knee.statistics.bootstrap import Bootstrap, only
from knee.statistics.scores import Outcomes, certain
from knee.storage.arrays import Integers

SHOWN: Final = ("accuracy", "balanced_accuracy", "macro_f1")
ENOUGH_EXCEEDING: Final = 10  # permutations that do as well: it cannot become significant any more


@dataclasses.dataclass(frozen=True)
class ShortcutProtocol:
    """Protocol by which shortcuts are judged."""

    folds: int  # of the cross-validation, >= 2; fewer where a class has fewer groups
    repeats: int  # of the cross-validation, each with other folds
    permutations: int  # of labels between groups of a fold, at most; they use the first repeat
    alarm_level: float  # an alarm needs a p-value of at most this
    seed: int  # of folds and permutations
    bootstrap: Bootstrap  # of the intervals


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Labels of records, and which records belong together."""

    labels: Integers  # (records,) class indices
    groups: Integers  # (records,) records with the same value stay together
    class_names: Sequence[str]  # by class index

    def part(self, rows: Integers) -> Labelled:
        """Return the same of `rows`, which may be repeated."""
        return Labelled(self.labels[rows], self.groups[rows], self.class_names)


def cross_validated(
    shortcut: Shortcut, records: Labelled, protocol: ShortcutProtocol
) -> dict[str, Any]:
    """Return `SHOWN` with intervals, p_value and alarm; all None where folds are impossible."""
    labels, features = records.labels, shortcut.features
    repeats = repeated_folds(
        labels, records.groups, folds=protocol.folds, repeats=protocol.repeats, seed=protocol.seed
    )
    if not repeats:
        return {**_undefined(), "p_value": None, "alarm": False}
    with _quick():
        fitted = [
            [shortcut.learner(features[train], features[test]) for train, test in folds]
            for folds in repeats
        ]
        guesses = [
            _guess(bound, folds, labels) for bound, folds in zip(fitted, repeats, strict=True)
        ]
        p_value = _p_value(fitted[0], repeats[0], records, guesses[0], protocol)
    repeated = records.part(np.tile(np.arange(len(labels)), len(repeats)))
    figures = _figures(repeated, np.concatenate(guesses), protocol)
    above = figures["balanced_accuracy"] > 1 / len(np.unique(labels))
    return {**figures, "p_value": p_value, "alarm": bool(above and p_value <= protocol.alarm_level)}


def out_of_fold_votes(
    shortcut: Shortcut, records: Labelled, *, folds: int, repeats: int, seed: int
) -> npt.NDArray[np.int64]:
    """Return the class that a shortcut guesses most often for each record, (records,).

    It is fitted `repeats` times to folds without the record's group. -1 where there are no folds.
    """
    labels, features = records.labels, shortcut.features
    votes = np.zeros((len(labels), len(records.class_names)), np.int64)
    rows = np.arange(len(labels))
    rounds = repeated_folds(labels, records.groups, folds=folds, repeats=repeats, seed=seed)
    with _quick():
        for parts in rounds:
            bound = [shortcut.learner(features[train], features[test]) for train, test in parts]
            votes[rows, _guess(bound, parts, labels)] += 1
    return votes.argmax(axis=1) if rounds else np.full(len(labels), -1)


def held_out(
    shortcut: Shortcut,
    records: Labelled,
    protocol: ShortcutProtocol,
    rows: tuple[Integers, Integers],
) -> dict[str, Any]:
    """Return `SHOWN` with intervals, fitted to the first and scored on the second `rows`.

    All None where either is empty.
    """
    train, test = rows
    if not len(train) or not len(test):
        return _undefined()
    with _quick():
        learner = shortcut.learner(shortcut.features[train], shortcut.features[test])
        guesses = learner(records.labels[train])
    return _figures(records.part(test), guesses, protocol)


def permuted(
    labels: Integers, groups: Integers, folds: Integers, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Exchange `labels` between whole groups of the same fold: each gets those of another one.

    A group larger than its giver repeats the giver's labels, a smaller one takes the first. Folds
    keep their shares of the classes: they were made so for the true labels, and shuffled ones
    that lost it would do worse by that alone.

    Args:
        labels: (records,) class indices.
        groups: (records,) no group is in two folds.
        folds: (records,) fold numbers.
        generator: of the exchange.
    """
    _, first, group_of = np.unique(groups, return_index=True, return_inverse=True)
    order = np.argsort(group_of, kind="stable")
    sizes = np.bincount(group_of)
    starts = np.cumsum(sizes) - sizes
    place = np.empty(len(labels), np.int64)  # of a record within its group
    place[order] = np.arange(len(labels)) - starts[group_of[order]]
    giver = np.arange(len(sizes))
    for fold in np.unique(folds):
        inside = np.flatnonzero(folds[first] == fold)
        giver[inside] = generator.permutation(inside)
    given = giver[group_of]
    return labels[order][starts[given] + place % sizes[given]]


def _guess(bound: Sequence[Fitted], folds: Folds, labels: Integers) -> Integers:
    guesses = np.empty(len(labels), np.int64)
    for fit, (train, test) in zip(bound, folds, strict=True):
        guesses[test] = fit(labels[train])
    return guesses


def _p_value(
    bound: Sequence[Fitted],
    folds: Folds,
    records: Labelled,
    guesses: Integers,
    protocol: ShortcutProtocol,
) -> float:
    """Share of permutations that do as well, the learner fitted anew to each.

    Stops as soon as significance is out of reach: Besag and Clifford 1991,
    https://doi.org/10.1093/biomet/78.2.301.
    """
    labels = records.labels
    observed = _balanced_accuracy(labels, guesses) - 1e-9  # equal is as well
    generator = np.random.default_rng(protocol.seed)
    fold_of = np.empty(len(labels), np.int64)
    for number, (_, inside) in enumerate(folds):
        fold_of[inside] = number
    exceeding = 0
    for number in range(1, protocol.permutations + 1):
        shuffled = permuted(labels, records.groups, fold_of, generator)
        exceeding += _balanced_accuracy(shuffled, _guess(bound, folds, shuffled)) >= observed
        if exceeding == ENOUGH_EXCEEDING:
            return round(exceeding / number, 6)
    return round((exceeding + 1) / (protocol.permutations + 1), 6)


def _balanced_accuracy(truth: Integers, guesses: Integers) -> float:
    classes = 1 + int(max(truth.max(), guesses.max()))
    counts = scores.confusion(truth, guesses, np.ones((1, len(truth))), classes)
    return float(scores.balanced_accuracy(counts)[0])


def _figures(records: Labelled, guesses: Integers, protocol: ShortcutProtocol) -> dict[str, Any]:
    probabilities = certain(guesses, len(records.class_names))
    outcomes = Outcomes(records.labels, probabilities, records.groups, records.class_names)
    return only(protocol.bootstrap.figures(outcomes), SHOWN)


def _undefined() -> dict[str, Any]:
    ends = {name: {"low": None, "high": None} for name in SHOWN}
    return {**dict.fromkeys(SHOWN), "confidence_interval": ends}


@contextlib.contextmanager
def _quick() -> Iterator[None]:
    """Many small fits: one thread each, no checks that the calls before have made."""
    import sklearn
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    settings = {"assume_finite": True, "skip_parameter_validation": True}
    with warnings.catch_warnings(), threadpool_limits(1), sklearn.config_context(**settings):
        warnings.simplefilter("ignore", ConvergenceWarning)  # of shuffled labels
        yield
