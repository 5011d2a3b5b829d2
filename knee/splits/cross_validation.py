"""Repeated grouped cross-validation: records to train on, to choose the epoch by, to predict.

A single test subset of some hundred images moves by ten points of accuracy with the split's seed;
here every image is predicted once a repeat, by a model that has seen no image of its group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.records import file_names
from knee.run.errors import UserError
from knee.splits import protocols, split_table
from knee.storage.arrays import Integers

KEPT: Final = ["record", "pixel_sha256", "group", "origin"]
TOO_FEW_GROUPS: Final = (
    "folds need two classes, and of each two groups (a group is a patient, or an image with its "
    "copies): add images, or look at what ingest quarantined"
)


class CrossValidationError(UserError):
    """The records cannot be cross-validated as asked."""


@dataclass(frozen=True)
class CrossValidationProtocol:
    """Protocol of a cross-validation."""

    folds: int  # >= 2; fewer where a class has fewer groups
    repeats: int  # each with other folds
    validation_share: float  # 0-1 of a fold's training records, in whole groups
    seed: int  # of folds and validation parts


@dataclass(frozen=True)
class Fold:
    """One training; positions in the table of records that are cross-validated."""

    repeat: int  # from 0
    fold: int  # from 0 within the repeat
    training: Integers
    validation: Integers  # they choose the epoch
    held_out: Integers  # predicted


def chosen_records(
    records: pd.DataFrame,
    split: pd.DataFrame,
    patterns: file_names.Patterns,
    subset: Literal["all", "development"],
) -> pd.DataFrame:
    """Return one used record of each copy group, those that the audit judges shortcuts on.

    The subset "development" leaves out every group with a record of the test subset. `patterns`
    tell which file names are those of derived copies.

    Raises:
        CrossValidationError: the split is of other records, or nothing is left.
    """
    if split["record"].tolist() != records["record"].tolist():
        raise CrossValidationError("the split is not of these records: run the split stage")
    originals = file_names.originals(records["source"].tolist(), patterns)
    kept = split_table.one_of_each_copy_group(records, originals)
    if subset == "development":
        tested = split.loc[split["subset"] == "test", "record"]
        groups = records.loc[records["record"].isin(tested), "group"]
        kept = kept[~kept["group"].isin(groups)]
    if kept.empty:
        raise CrossValidationError(f"cross_validate.subset: no usable image is in {subset!r}")
    return kept.reset_index(drop=True)


def plan_folds(kept: pd.DataFrame, protocol: CrossValidationProtocol) -> list[Fold]:
    """Plan all trainings, by repeat and fold; no group is in two parts of one.

    Raises:
        CrossValidationError: a class has too few groups for folds, or for a validation part.
    """
    labels, groups = (kept[name].to_numpy(np.int64) for name in ("class_index", "group"))
    repeats = repeated_folds(
        labels, groups, folds=protocol.folds, repeats=protocol.repeats, seed=protocol.seed
    )
    if not repeats:
        raise CrossValidationError(TOO_FEW_GROUPS)
    planned: list[Fold] = []
    for repeat, folds in enumerate(repeats):
        for fold, (inside, held_out) in enumerate(folds):
            validates = _validates(kept.iloc[inside], protocol, protocol.seed + len(planned))
            planned.append(Fold(repeat, fold, inside[~validates], inside[validates], held_out))
    return planned


def plan_members(kept: pd.DataFrame, folds: int, seeds: int, seed: int) -> list[Fold]:
    """Plan the nets of an ensemble: the same folds for each of `seeds` repeats.

    Nothing is held back to choose an epoch: `validation` is what is held out, for the record. So
    each image of `kept` is predicted by `seeds` nets that have not seen its group.

    Raises:
        CrossValidationError: a class has too few groups.
    """
    labels, groups = (kept[name].to_numpy(np.int64) for name in ("class_index", "group"))
    repeats = repeated_folds(labels, groups, folds=folds, repeats=1, seed=seed)
    if not repeats:
        raise CrossValidationError(TOO_FEW_GROUPS)
    return [
        Fold(repeat, fold, inside, held_out, held_out)
        for repeat in range(seeds)
        for fold, (inside, held_out) in enumerate(repeats[0])
    ]


def training_rows(
    kept: pd.DataFrame, fold: Fold, method: Literal["random", "none"], seed: int
) -> pd.DataFrame:
    """Return a fold's training rows and repeats as `split_table.training_rows` has a split's."""
    subset = pd.Series("held out", index=kept.index)
    subset.iloc[fold.training] = "train"
    roles = kept[["record"]].assign(subset=subset)
    return split_table.training_rows(kept, roles, method, seed)


def leakage(kept: pd.DataFrame, folds: Sequence[Fold]) -> float:
    """Return the share, 0-1, of held-out records with a relative that their model saw."""
    shares = []
    for fold in folds:
        subset = pd.Series("train", index=kept.index)
        subset.iloc[fold.held_out] = "test"
        shares.append(split_table.leakage(kept, kept[["record"]].assign(subset=subset)))
    return float(np.mean(shares))


def _validates(
    inside: pd.DataFrame, protocol: CrossValidationProtocol, seed: int
) -> npt.NDArray[np.bool_]:
    """(records of `inside`,) whether each belongs to the validation part."""
    share = protocol.validation_share
    try:
        part = protocols.deal_out(inside, {"train": 1 - share, "val": share}, seed)
    except split_table.SplitError as error:
        raise CrossValidationError(
            "a class has too few groups to train on some and choose the epoch by others: add "
            "images, or raise cross_validate.folds"
        ) from error
    return (inside["group"].map(part) == "val").to_numpy(np.bool_)


def with_head(backbone: str, head: str) -> str:
    """Return the name of a backbone with another head in tables of models."""
    return f"{backbone}, {head} head"


Folds = list[tuple[Integers, Integers]]  # positions to train on, positions to predict


def repeated_folds(
    labels: Integers, groups: Integers, *, folds: int, repeats: int, seed: int
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
