"""Models beside baselines on the same records: read, fitted, and compared.

A baseline is fitted anew wherever a model was: to the training subset, or to the records outside
each fold, with the folds that the models' own tables name. So every pair is of the same records.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.audit import shortcuts
from knee.audit.shortcuts import Fitted, Shortcut
from knee.evidence.evaluation import predictions
from knee.evidence.evaluation.predictions import read_predictions
from knee.splits.cross_validation import with_head
from knee.statistics import paired_comparison, scores
from knee.statistics.bootstrap import Bootstrap
from knee.statistics.paired_comparison import MODEL, NamedPredictions
from knee.storage.arrays import Features, Floats, Images, Integers
from knee.storage.artifacts import ArtifactError, read_bytes, read_json

PROBES: Final = ("linear probe on", "nearest neighbour by")  # a backbone's features
AVERAGE: Final = "average of the backbones"
INVERSE_PENALTY: Final = 0.01  # scikit-learn's C, on standardised features
ROWS_AT_ONCE: Final = 256  # feature maps held in memory

Tables = Mapping[str, pd.DataFrame]  # predictions, by model
# Learners of one repeat: the rows that each is fitted to, and which records it predicts.
Fits = Sequence[tuple[Integers, npt.NDArray[np.bool_]]]


@dataclasses.dataclass(frozen=True)
class Baselines:
    """Shortcuts, and probes of features, of all records that are in a subset."""

    records: pd.DataFrame  # these rows of the records table, indexed 0 to n - 1
    shortcuts: Mapping[str, Shortcut]  # by name, with features in the order of `records`

    def rows(self, records: pd.Series[int]) -> Integers:
        """Return the rows (n,) of record numbers; `ArtifactError` where one is in no subset."""
        found: Integers = pd.Index(self.records["record"]).get_indexer(records)
        if (found < 0).any():
            number = records.iloc[int(np.argmin(found))]
            raise ArtifactError(
                f"record {number} has predictions, but is in no subset: run `dvc repro`"
            )
        return found

    def predictions(
        self, rows: Integers, repeats: Sequence[Fits], classes: int
    ) -> list[NamedPredictions]:
        """Return those of each baseline for `rows`, one array a repeat."""
        labels = self.records["class_index"].to_numpy(np.int64)
        found = []
        for name, shortcut in self.shortcuts.items():
            kind: Literal["probe", "shortcut"] = "probe" if name.startswith(PROBES) else "shortcut"
            guesses = (_fitted(shortcut, labels, rows, fits) for fits in repeats)
            certain = tuple(scores.certain(guessed, classes) for guessed in guesses)
            found.append(NamedPredictions(name, kind, certain))
        return found


@dataclasses.dataclass(frozen=True)
class ComparisonData:
    """Predictions of models and baselines on the same records."""

    truth: Integers  # (records,) class indices
    groups: Integers  # (records,) what is drawn together
    origins: npt.NDArray[np.object_]  # (records,) where each comes from, "" if unknown
    compared: list[NamedPredictions]

    def within(self, origin: str) -> ComparisonData:
        """Return the evidence of the records of one origin."""
        rows = self.origins == origin
        compared = [
            dataclasses.replace(one, repeats=tuple(part[rows] for part in one.repeats))
            for one in self.compared
        ]
        return ComparisonData(self.truth[rows], self.groups[rows], self.origins[rows], compared)

    def with_average(self, names: Collection[str]) -> ComparisonData:
        """Return the same and, after its models, the mean probabilities of those called `names`.

        It is a model like them, of predictions that exist already; one alone gets no average.
        """
        averaged = [one for one in self.compared if one.kind == MODEL and one.name in names]
        if len(averaged) < 2:
            return self
        together = zip(*(one.repeats for one in averaged), strict=True)
        mean = NamedPredictions(AVERAGE, MODEL, tuple(np.mean(p, axis=0) for p in together))
        ordered = sorted([*self.compared, mean], key=lambda one: one.kind != MODEL)
        return dataclasses.replace(self, compared=ordered)


def read_out_of_fold(
    metrics: Path, backbones: Sequence[str], joined: Sequence[str], also: Mapping[str, Path]
) -> dict[str, pd.DataFrame] | str:
    """Read the out-of-fold predictions of backbones, their other heads, joint models and `also`.

    Returns:
        The tables by model; or why there are none, where a backbone was not cross-validated.

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    files = {name: metrics / name / "out_of_fold.csv" for name in (*backbones, *joined)}
    files |= dict(also)
    tables = {name: read_predictions(read_bytes(file)) for name, file in files.items()}
    for name in backbones:
        path = metrics / name / "heads_out_of_fold.csv"
        heads = read_predictions(read_bytes(path))
        if "head" not in heads:
            raise ArtifactError(f"{path} has no column head: run `dvc repro`")
        parts = heads.groupby("head", sort=False)
        tables |= {with_head(name, str(head)): part for head, part in parts}
    for name in backbones:
        if tables[name].empty:
            facts = read_json(metrics / name / "cross_validation.json", ("reason",))
            return f"{name} was not cross-validated: {facts['reason']}"
    return tables


def averaged_over_positions(
    take: Callable[[Integers, Integers], Features], rows: Integers
) -> Images:
    """Return feature maps of the images themselves, averaged over positions: (rows, channels).

    `take` gives the maps (n, height, width, channels) of n views and rows.
    """
    parts = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        chosen = rows[start : start + ROWS_AT_ONCE]
        values = take(np.zeros_like(chosen), chosen).astype(np.float32)
        parts.append(values.reshape(len(chosen), -1, values.shape[-1]).mean(axis=1))
    return np.concatenate(parts)


def probes(averaged: Mapping[str, Features]) -> dict[str, Shortcut]:
    """Return a linear probe and the nearest neighbour on each backbone's averaged feature map."""
    found = {}
    for name, features in averaged.items():
        found[f"{PROBES[0]} {name}"] = Shortcut(features, linear_probe)
        length = np.linalg.norm(features, axis=1, keepdims=True)
        direction = features / np.where(length > 0, length, 1)
        found[f"{PROBES[1]} {name}"] = Shortcut(direction, shortcuts.nearest_neighbour)
    return found


def linear_probe(train: Features, test: Features) -> Fitted:
    """Fit regularised logistic regression to standardised features, classes weighing alike."""
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


def cross_validated(tables: Tables, baselines: Baselines) -> ComparisonData:
    """Set models' out-of-fold predictions beside baselines fitted in the same folds.

    Raises:
        ArtifactError: a table lacks a column, or is of other records or folds than the first.
    """
    keys = ["repeat", "record", "fold", "class_index"]
    ordered = _ordered(tables, keys, ["group", "origin"], "cross-validations")
    first = next(iter(ordered.values()))
    folds = [part.to_numpy() for _, part in first.groupby("repeat")["fold"]]
    rows = baselines.rows(first["record"].head(len(folds[0])))
    repeats = [
        [(rows[fold != number], fold == number) for number in np.unique(fold)] for fold in folds
    ]
    origins = first["origin"].fillna("").to_numpy(object)[: len(rows)]
    return _beside(ordered, baselines, rows, origins, repeats)


def held_out(tables: Tables, baselines: Baselines, split: pd.DataFrame) -> ComparisonData:
    """Set models' test predictions beside baselines fitted to what the models learned from.

    That is the training subset of `split`, and of ensembles, whose tables have a subset
    "development", the val subset, too.

    Raises:
        ArtifactError: a table lacks a column, or is of other records than the first.
    """
    tested = {name: table[table["subset"] == "test"] for name, table in tables.items()}
    ordered = _ordered(tested, ["record", "class_index"], ["group"], "test predictions")
    ensembles = all("development" in set(table["subset"]) for table in tables.values())
    learned = ("train", "val") if ensembles else ("train",)
    training = split.loc[split["subset"].isin(learned), "record"]
    train = np.flatnonzero(baselines.records["record"].isin(training))
    rows = baselines.rows(next(iter(ordered.values()))["record"])
    origins = baselines.records["origin"].to_numpy(object)[rows]
    return _beside(ordered, baselines, rows, origins, [[(train, np.ones(len(rows), np.bool_))]])


def compare(
    evidence: ComparisonData, metric: str, bootstrap: Bootstrap, minimum_origin_groups: int
) -> dict[str, Any]:
    """Compare all predictions, overall and within each origin that has groups enough.

    Returns:
        overall, and within.<origin>: `paired_comparison.compare`, with best_shortcut.
    """
    within = {}
    for origin in sorted(set(evidence.origins)):
        part = evidence.within(origin)
        enough = len(np.unique(part.groups)) >= minimum_origin_groups
        if len(part.truth) < len(evidence.truth) and enough and len(np.unique(part.truth)) > 1:
            within[str(origin)] = _compared(part, metric, bootstrap)
    return {"overall": _compared(evidence, metric, bootstrap), "within": within}


def _compared(evidence: ComparisonData, metric: str, bootstrap: Bootstrap) -> dict[str, Any]:
    part = paired_comparison.compare(
        evidence.truth, evidence.groups, evidence.compared, metric, bootstrap
    )
    best = paired_comparison.best_shortcuts(part, metric, bootstrap.level)
    return {**part, "best_shortcut": best}


def _ordered(tables: Tables, keys: list[str], others: list[str], what: str) -> Tables:
    """The tables sorted by `keys`; `ArtifactError` where these are not the same in all."""
    ordered = {}
    for name, table in tables.items():
        predictions.check_columns(table, [*keys, *others], f" of {name}")
        ordered[name] = table.sort_values(keys, ignore_index=True)
    (first_name, first), *rest = ordered.items()
    for name, table in rest:
        if not first[keys].equals(table[keys]):
            raise ArtifactError(
                f"the {what} of {first_name} and {name} are not of the same records"
                f"{' and folds' if 'fold' in keys else ''}: run `dvc repro` for both"
            )
    return ordered


def _beside(
    ordered: Tables,
    baselines: Baselines,
    rows: Integers,
    origins: npt.NDArray[np.object_],
    repeats: Sequence[Fits],
) -> ComparisonData:
    """Models, and baselines fitted for each repeat; `rows` are those of the predicted records."""
    compared = []
    for name, table in ordered.items():
        classes = predictions.predicted_classes(table)
        values: Floats = scores.checked(
            table["class_index"].to_numpy(), predictions.probabilities_of(table, classes)
        )
        compared.append(NamedPredictions(name, MODEL, tuple(np.split(values, len(repeats)))))
    compared += baselines.predictions(rows, repeats, compared[0].repeats[0].shape[1])
    first = next(iter(ordered.values())).head(len(rows))
    return ComparisonData(
        first["class_index"].to_numpy(np.int64),
        first["group"].to_numpy(np.int64),
        origins,
        compared,
    )


def _fitted(baseline: Shortcut, labels: Integers, rows: Integers, fits: Fits) -> Integers:
    """Class indices (records,) of the records in `rows`, each by a learner that has not seen it."""
    found = np.empty(len(rows), np.int64)
    for train, inside in fits:
        learner = baseline.learner(baseline.features[train], baseline.features[rows[inside]])
        found[inside] = learner(labels[train])
    return found
