"""Records -> subsets train, val, test, and folds.

Two protocols. `grouped_split` keeps every group (patient, duplicate, mirrored or augmented copy)
in one subset. `random_split` is the published protocol, which does not: it is leaky, and there for
comparison only. `leakage` measures the difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

SUBSETS: Final = ("train", "val", "test")
UNUSED: Final = "unused"
COLUMNS: Final = {"record": "int64", "subset": "str", "fold": "int64", "group": "int64"}


class SplitError(ValueError):
    """The records cannot be split as asked, or a split table is not one."""


def grouped_split(
    records: pd.DataFrame,
    originals: npt.NDArray[np.bool_],
    *,
    validation_share: float,
    test_share: float,
    folds: int,
    seed: int,
) -> pd.DataFrame:
    """One record a picture, no group in two subsets, classes in like shares everywhere.

    Of a picture's used records the first original stands for all, else the first; the others are
    `unused`: a copy adds nothing that training's augmentation does not, and would count a picture
    twice in a test.

    Args:
        records: the records table.
        originals: (rows,) False for copies that their file names call derived.
        validation_share: wanted share of the kept records, 0-1.
        test_share: likewise.
        folds: folds of the fold column, each of them a stratified, grouped share of all subsets.
        seed: of the order in which equal groups are dealt out.

    Returns:
        Columns record, subset, fold (-1 if unused) and group, one row a record.

    Raises:
        SplitError: a class has fewer groups than there are subsets, or folds.
    """
    keep = _one_a_picture(records, originals)
    _check_groups(keep, folds)
    shares = {
        "train": 1 - validation_share - test_share,
        "val": validation_share,
        "test": test_share,
    }
    subset_of = _deal_out(keep, shares, seed)
    return _table(records, keep, keep["group"].map(subset_of), _folds(keep, folds, seed))


def random_split(
    records: pd.DataFrame,
    *,
    validation_share: float,
    test_share: float,
    folds: int,
    seed: int,
) -> pd.DataFrame:
    """The published protocol: stratified by class over all files with pixels. LEAKY.

    The held-out share is cut off first, then divided into val and test, both with `seed`.

    Raises:
        SplitError: a class is too small to be in every subset.
    """
    from sklearn.model_selection import StratifiedKFold, train_test_split

    keep = records[records["pixel_row"] >= 0]
    held_share = validation_share + test_share
    try:
        _, held = train_test_split(
            keep, test_size=held_share, stratify=keep["class_index"], random_state=seed
        )
        val, test = train_test_split(
            held,
            test_size=test_share / held_share,
            stratify=held["class_index"],
            random_state=seed,
        )
        splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
        parts = list(splitter.split(keep, keep["class_index"]))
    except ValueError as error:
        raise SplitError(f"a class is too small for a stratified random split: {error}") from error
    subset = pd.Series("train", index=keep.index)
    subset[val.index], subset[test.index] = "val", "test"
    fold = pd.Series(-1, index=keep.index)
    for number, (_, members) in enumerate(parts):
        fold.iloc[members] = number
    return _table(records, keep, subset, fold)


def leakage(records: pd.DataFrame, split: pd.DataFrame) -> float:
    """Share, 0-1, of test records with a record of the same picture or patient in train."""
    joined = records[["record", "picture", "group"]].merge(split[["record", "subset"]], on="record")
    train, test = (joined[joined["subset"] == name] for name in ("train", "test"))
    related = test["picture"].isin(train["picture"]) | test["group"].isin(train["group"])
    return float(related.mean()) if len(test) else 0.0


def summary(
    records: pd.DataFrame, split: pd.DataFrame, protocol: str, *, synthetic: bool
) -> dict[str, Any]:
    """Counts and leakage of a split, for metrics/split.json."""
    joined = records[["record", "label"]].merge(split, on="record")
    counts: dict[str, Mapping[str, int]] = {}
    for name in (*SUBSETS, UNUSED):
        part = joined[joined["subset"] == name]
        counts[name] = {
            "records": len(part),
            **({"groups": int(part["group"].nunique())} if name != UNUSED else {}),
            **{str(k): int(v) for k, v in part["label"].value_counts().sort_index().items() if k},
        }
    return {
        "protocol": protocol,
        "leaky": protocol == "random",
        "leakage": round(leakage(records, split), 6),
        "synthetic": synthetic,
        "subsets": counts,
    }


def read_split(path: Path) -> pd.DataFrame:
    """The table at `path`, columns of `COLUMNS`; `SplitError` if it is none."""
    try:
        frame = pd.read_csv(path, dtype=COLUMNS)
    except FileNotFoundError as error:
        raise SplitError(f"{path} does not exist: run the split stage") from error
    if list(frame.columns) != list(COLUMNS):
        raise SplitError(f"{path} is not a split table: its columns are {list(frame.columns)}")
    return frame


def _one_a_picture(records: pd.DataFrame, originals: npt.NDArray[np.bool_]) -> pd.DataFrame:
    ordered = records.assign(derived=~originals)[records["status"] == "used"]
    ordered = ordered.sort_values(["derived", "record"]).drop_duplicates("picture")
    return ordered.sort_values("record")


def _check_groups(keep: pd.DataFrame, folds: int) -> None:
    needed = max(len(SUBSETS), folds)
    groups = keep.groupby("label")["group"].nunique()
    small = {str(label): int(count) for label, count in groups.items() if count < needed}
    if keep.empty or small:
        counts = ", ".join(f"{label} has {count}" for label, count in small.items())
        raise SplitError(
            f"every class needs at least {needed} independent groups (patients or pictures) for "
            f"3 subsets and {folds} folds; {counts or 'there is no used record'}: add images, "
            "lower split.folds, or look at what ingest quarantined"
        )


def _deal_out(keep: pd.DataFrame, shares: Mapping[str, float], seed: int) -> dict[int, str]:
    """Each group to the subset that lacks its classes most; large groups first.

    Greedy allocation in the manner of iterative stratification (Sechidis et al. 2011,
    https://doi.org/10.1007/978-3-642-23808-6_10).
    """
    table = pd.crosstab(keep["group"], keep["class_index"])
    counts = table.to_numpy(np.float64)
    shuffled = np.random.default_rng(seed).permutation(len(table))
    # Rare classes first: what is left for them last would be left to chance.
    rarity = (counts / counts.sum(axis=0)).max(axis=1)
    order = shuffled[np.lexsort((-rarity[shuffled], -counts[shuffled].sum(axis=1)))]
    names = list(shares)
    wanted = np.array([shares[name] for name in names])[:, np.newaxis] * counts.sum(axis=0)
    lacking = wanted.copy()
    dealt: dict[int, str] = {}
    for row in order:
        need = ((lacking / wanted.clip(1e-9)) * counts[row]).sum(axis=1)
        chosen = int(np.argmax(need))
        lacking[chosen] -= counts[row]
        dealt[int(table.index[row])] = names[chosen]
    return dealt


def _folds(keep: pd.DataFrame, folds: int, seed: int) -> pd.Series[int]:
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    fold = pd.Series(-1, index=keep.index)
    parts = splitter.split(keep, keep["class_index"], keep["group"])
    for number, (_, members) in enumerate(parts):
        fold.iloc[members] = number
    return fold


def _table(
    records: pd.DataFrame,
    keep: pd.DataFrame,
    subset: pd.Series[str],
    fold: pd.Series[int],
) -> pd.DataFrame:
    frame = pd.DataFrame(
        {"record": records["record"], "subset": UNUSED, "fold": -1, "group": records["group"]}
    )
    frame.loc[keep.index, "subset"] = subset
    frame.loc[keep.index, "fold"] = fold
    return frame.astype(COLUMNS)
