"""What is compared with what: tables of predictions, and baselines judged on the same rows.

A baseline is fitted anew wherever a model was: to the training subset, or to the records outside
each fold, with the folds that the models' own tables name. So every pair is of the same records.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.audit import shortcuts
from knee.audit.shortcuts import Fitted, Shortcut
from knee.run.errors import UserError
from knee.statistics import scores
from knee.statistics.paired_comparison import MODEL, Contender, guesses
from knee.storage.arrays import Features, Integers

PREFIX: Final = "probability_"
CROSS_VALIDATION: Final = ("record", "group", "origin", "repeat", "fold", "class_index")
TEST: Final = ("record", "group", "subset", "class_index")
PROBES: Final = ("linear probe on", "nearest neighbour by")  # a backbone's features
AVERAGE: Final = "average of the backbones"
INVERSE_PENALTY: Final = 0.01  # scikit-learn's C, on standardised features


class ContenderError(UserError):
    """Tables of predictions that lack something, or are not of the same records."""


@dataclasses.dataclass(frozen=True)
class Field:
    """Contenders on the same records.

    Attributes:
        truth: int (records,), class indices.
        groups: (records,) what is drawn together.
        origins: (records,) where each comes from, "" if unknown.
        contenders: their predictions.
    """

    truth: Integers
    groups: Integers
    origins: npt.NDArray[np.object_]
    contenders: list[Contender]

    def within(self, origin: str) -> Field:
        """The records of one origin."""
        rows = self.origins == origin
        return Field(
            self.truth[rows],
            self.groups[rows],
            self.origins[rows],
            [
                dataclasses.replace(one, repeats=tuple(part[rows] for part in one.repeats))
                for one in self.contenders
            ],
        )


def pooled_baselines(pooled: Mapping[str, Features]) -> dict[str, Shortcut]:
    """A linear probe and the nearest neighbour on each backbone's averaged feature map.

    Args:
        pooled: float (records, channels), by backbone.
    """
    found = {}
    for name, features in pooled.items():
        found[f"{PROBES[0]} {name}"] = Shortcut(features, linear_probe)
        length = np.linalg.norm(features, axis=1, keepdims=True)
        direction = features / np.where(length > 0, length, 1)
        found[f"{PROBES[1]} {name}"] = Shortcut(direction, shortcuts.nearest_neighbour)
    return found


def linear_probe(train: Features, test: Features) -> Fitted:
    """Regularised logistic regression on standardised features, classes weighing alike."""
    from sklearn.linear_model import LogisticRegression

    spread = train.std(axis=0)
    spread = np.where(spread > 0, spread, 1)
    seen, unseen = ((part - train.mean(axis=0)) / spread for part in (train, test))

    def guess(labels: Integers) -> Integers:
        if len(np.unique(labels)) < 2:
            return np.full(len(test), labels[0], np.int64)
        model = LogisticRegression(C=INVERSE_PENALTY, class_weight="balanced", max_iter=1000)
        return np.asarray(model.fit(seen, labels).predict(unseen), np.int64)

    return guess


def cross_validated(
    tables: Mapping[str, pd.DataFrame],
    baselines: Mapping[str, Shortcut],
    position: Mapping[int, int],
) -> Field:
    """Models' out-of-fold predictions beside baselines fitted in the same folds.

    Args:
        tables: by model, one row a record and repeat: `CROSS_VALIDATION` and probabilities.
        baselines: with features of all records that the tables name.
        position: record number -> row of these features.

    Raises:
        ContenderError: a table lacks a column, or is of other records or folds than the first.
    """
    ordered = {
        name: _ordered(table, name, CROSS_VALIDATION, ["repeat", "record"])
        for name, table in tables.items()
    }
    first_name, first = next(iter(ordered.items()))
    keys = ["repeat", "record", "fold", "class_index"]
    for name, table in ordered.items():
        if not first[keys].equals(table[keys]):
            raise ContenderError(
                f"the cross-validations of {first_name} and {name} are not of the same records "
                "and folds: run `dvc repro` for both"
            )
    parts = [part.reset_index(drop=True) for _, part in first.groupby("repeat", sort=True)]
    truth = parts[0]["class_index"].to_numpy(np.int64)
    classes = len(_columns(first))
    models = [_model(name, table, len(parts)) for name, table in ordered.items()]
    rows = np.array([position[record] for record in parts[0]["record"]], np.int64)
    folds = [part["fold"].to_numpy(np.int64) for part in parts]
    others = [
        Contender(
            name,
            _kind(name),
            tuple(guesses(_out_of_fold(one, rows, truth, fold), classes) for fold in folds),
        )
        for name, one in baselines.items()
    ]
    return Field(
        truth,
        parts[0]["group"].to_numpy(np.int64),
        parts[0]["origin"].fillna("").to_numpy(object),
        [*models, *others],
    )


def held_out(
    tables: Mapping[str, pd.DataFrame],
    baselines: Mapping[str, Shortcut],
    position: Mapping[int, int],
    train: pd.DataFrame,
    origins: Mapping[int, str],
) -> Field:
    """Models' test predictions beside baselines fitted to the training subset.

    Args:
        tables: by model, predictions with the columns `TEST` and probabilities.
        baselines: with features of train and test records.
        position: record number -> row of these features.
        train: record and class_index of the training subset.
        origins: of each record.

    Raises:
        ContenderError: a table lacks a column, or is of other records than the first.
    """
    ordered = {
        name: _ordered(table[table["subset"] == "test"], name, TEST, ["record"])
        for name, table in tables.items()
    }
    first_name, first = next(iter(ordered.items()))
    for name, table in ordered.items():
        if not first[["record", "class_index"]].equals(table[["record", "class_index"]]):
            raise ContenderError(
                f"the test predictions of {first_name} and {name} are not of the same records: "
                "run `dvc repro` for both"
            )
    known = np.array([position[record] for record in train["record"]], np.int64)
    asked = np.array([position[record] for record in first["record"]], np.int64)
    labels, classes = train["class_index"].to_numpy(np.int64), len(_columns(first))
    others = [
        Contender(
            name,
            _kind(name),
            (guesses(one.learner(one.features[known], one.features[asked])(labels), classes),),
        )
        for name, one in baselines.items()
    ]
    return Field(
        first["class_index"].to_numpy(np.int64),
        first["group"].to_numpy(np.int64),
        np.array([origins.get(record, "") for record in first["record"]], object),
        [*(_model(name, table, 1) for name, table in ordered.items()), *others],
    )


def with_average(field: Field, names: Collection[str]) -> Field:
    """`field` and, after its models, the mean of the probabilities of those called `names`.

    It is a model like them, of predictions that exist already; one alone gets no average.
    """
    averaged = [one for one in field.contenders if one.kind == MODEL and one.name in names]
    if len(averaged) < 2:
        return field
    together = zip(*(one.repeats for one in averaged), strict=True)
    mean = Contender(AVERAGE, MODEL, tuple(np.mean(parts, axis=0) for parts in together))
    ordered = sorted([*field.contenders, mean], key=lambda one: one.kind != MODEL)
    return dataclasses.replace(field, contenders=ordered)


def _ordered(
    table: pd.DataFrame, name: str, needed: tuple[str, ...], by: list[str]
) -> pd.DataFrame:
    missing = [column for column in needed if column not in table]
    if missing or not _columns(table):
        raise ContenderError(
            f"the predictions of {name} have no column {(missing or [PREFIX + 'CLASS'])[0]}: "
            "run `dvc repro`"
        )
    return table.sort_values(by).reset_index(drop=True)


def _columns(table: pd.DataFrame) -> list[str]:
    return [column for column in table.columns if column.startswith(PREFIX)]


def _model(name: str, table: pd.DataFrame, repeats: int) -> Contender:
    values: Any = scores.checked(
        table["class_index"].to_numpy(), table[_columns(table)].to_numpy(np.float64)
    )
    return Contender(name, "model", tuple(np.split(values, repeats)))


def _kind(baseline: str) -> Literal["shortcut", "probe"]:
    return "probe" if baseline.startswith(PROBES) else "shortcut"


def _out_of_fold(one: Shortcut, rows: Integers, truth: Integers, fold: Integers) -> Integers:
    """Guesses (records,), each by a learner that has not seen the record's fold."""
    found = np.empty(len(rows), np.int64)
    for number in np.unique(fold):
        inside = fold == number
        learner = one.learner(one.features[rows[~inside]], one.features[rows[inside]])
        found[inside] = learner(truth[~inside])
    return found
