"""Protocols: records -> subsets train, val, test, and folds.

`grouped_split` keeps every group (patient, duplicate, mirrored or augmented copy) in one subset.
`official_split` keeps the subsets that a data set's makers gave: the folders train, val and test
above the classes. `random_split` is the published protocol, which is leaky, and there for
comparison only; `split_table.leakage` measures the difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.records.records_table import USED
from knee.splits import kept_split
from knee.splits.split_table import SUBSETS, SplitError, one_of_each_copy_group, split_of_all


def grouped_split(
    records: pd.DataFrame,
    originals: npt.NDArray[np.bool_],
    *,
    validation_share: float,
    test_share: float,
    folds: int,
    seed: int,
    kept: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Split whole groups: one record of each copy group, classes in like shares everywhere.

    The first original of a copy group stands for all; the other records are `unused`: a copy adds
    nothing that training's augmentation does not, and would count an image twice in a test.

    Args:
        records: the records table.
        originals: (rows,) False for copies that their file names call derived.
        validation_share: wanted share of the kept records, 0-1.
        test_share: likewise.
        folds: folds of the fold column, each of them a stratified, grouped share of all subsets.
        seed: of the order in which equal groups are dealt out.
        kept: subsets of images in an earlier split, by pixel SHA-256. Their groups keep them, and
            other groups get theirs by `kept_split.place_groups`; without it all are dealt out.

    Returns:
        Columns record, subset, fold (-1 if unused) and group, one row a record.

    Raises:
        SplitError: a class has fewer groups than there are subsets, or folds, or shares so many
            of them with other classes that it cannot be in every subset.
    """
    keep = one_of_each_copy_group(records, originals)
    _check_counts(records, keep, "group", folds)
    train_share = 1 - validation_share - test_share
    shares = {"train": train_share, "val": validation_share, "test": test_share}
    if kept:
        members = records[records["group"].isin(keep["group"])]
        places = kept_split.place_groups(members, kept, shares, seed)
    else:
        places = deal_out(keep, shares, seed)
    subset = keep["group"].map(places)
    return split_of_all(records, keep, subset, _deal_folds(keep, folds, seed, grouped=True))


def official_split(
    records: pd.DataFrame,
    originals: npt.NDArray[np.bool_],
    *,
    validation_share: float,
    folds: int,
    seed: int,
) -> pd.DataFrame:
    """Keep the makers' subsets: one record of each copy group, no group in two subsets.

    A group in several parts counts for the last of train, val, test; its other records are
    `unused`. Arguments and columns are those of `grouped_split`, but `validation_share` is of
    train, where val has to be drawn from it.

    Raises:
        SplitError: no parts, no train part, none beside it, or too few groups of a class.
    """
    used = records["status"] == USED
    rank = _ranks(records)
    in_group = rank[used].groupby(records["group"]).max()
    counted = used & (rank == records["group"].map(in_group))
    candidates = records.assign(status=records["status"].where(counted, ""))
    keep = one_of_each_copy_group(candidates, originals)
    _check_counts(records, keep, "group", folds)
    subset = keep["part"].copy()
    if len(set(subset)) < len(SUBSETS):
        subset[subset != "train"] = "test"
        train = keep[subset == "train"]
        shares = {"train": 1 - validation_share, "val": validation_share}
        subset[train.index] = train["group"].map(deal_out(train, shares, seed))
    fold = _deal_folds(keep, folds, seed, grouped=True)
    return split_of_all(records, keep, subset, fold)


def random_split(
    records: pd.DataFrame, *, validation_share: float, test_share: float, folds: int, seed: int
) -> pd.DataFrame:
    """Split by the published protocol: stratified by class over all files with pixels. LEAKY.

    The held-out share is cut off first, then divided into val and test, both with `seed`.

    Raises:
        SplitError: a class is too small to be in every subset.
    """
    from sklearn.model_selection import train_test_split

    keep = records[records["pixel_row"] >= 0]
    _check_counts(records, keep, "record", folds)
    held_share = validation_share + test_share
    try:
        _, held = train_test_split(
            keep, test_size=held_share, stratify=keep["class_index"], random_state=seed
        )
        val, test = train_test_split(
            held, test_size=test_share / held_share, stratify=held["class_index"], random_state=seed
        )
    except ValueError as error:
        raise SplitError(f"a class is too small for a stratified random split: {error}") from error
    subset = pd.Series("train", index=keep.index)
    subset[val.index], subset[test.index] = "val", "test"
    return split_of_all(records, keep, subset, _deal_folds(keep, folds, seed, grouped=False))


def deal_out(keep: pd.DataFrame, shares: Mapping[str, float], seed: int) -> dict[int, str]:
    """Deal each group to the subset that lacks its classes most; large groups first.

    Greedy allocation in the manner of iterative stratification (Sechidis et al. 2011,
    https://doi.org/10.1007/978-3-642-23808-6_10).
    """
    table = pd.crosstab(keep["group"], keep["class_index"])
    counts = table.to_numpy(np.float64)
    shuffled = np.random.default_rng(seed).permutation(len(table))
    # Rare classes first: what is left for them last would be left to chance.
    rarity = (counts / counts.sum(axis=0)).max(axis=1)
    order = shuffled[np.lexsort((-rarity[shuffled], -counts[shuffled].sum(axis=1)))]
    wanted = np.array([*shares.values()])[:, np.newaxis] * counts.sum(axis=0)
    lacking = wanted.copy()
    place = np.zeros(len(table), np.int64)
    for row in order:
        place[row] = np.argmax(((lacking / wanted) * counts[row]).sum(axis=1))
        lacking[place[row]] -= counts[row]
    labels = keep.drop_duplicates("class_index").sort_values("class_index")["label"].tolist()
    place = _without_gaps(counts, wanted, place, labels)
    return dict(zip(table.index.tolist(), np.array(list(shares))[place].tolist(), strict=True))


def _without_gaps(
    counts: npt.NDArray[np.float64],
    wanted: npt.NDArray[np.float64],
    place: npt.NDArray[np.int64],
    labels: Sequence[str],
) -> npt.NDArray[np.int64]:
    """`place` (groups,), changed by single moves until every subset has every class.

    The greedy pass can leave a rare class out of a subset, where its groups also hold much of
    another. Each move closes a gap and opens none, and keeps `counts` (groups, classes) as near to
    `wanted` (subsets, classes) as can be.
    """
    while True:
        held = np.stack([counts[place == index].sum(axis=0) for index in range(len(wanted))])
        gaps = np.argwhere(held == 0)
        if not len(gaps):
            return place
        moves = []
        for index, column in gaps.tolist():
            for row in np.flatnonzero(counts[:, column]).tolist():
                after = held.copy()
                after[place[row]] -= counts[row]
                after[index] += counts[row]
                cost = float(((after - wanted) ** 2 / wanted).sum())
                moves.append((int((after == 0).sum()), cost, row, index))
        left, _, row, index = min(moves)
        if left >= len(gaps):
            raise SplitError(
                f"{labels[gaps[0][1]]} cannot be in all of {', '.join(SUBSETS)}: too many of its "
                "groups hold other classes too; add images of other patients"
            )
        place[row] = index


def _deal_folds(keep: pd.DataFrame, folds: int, seed: int, *, grouped: bool) -> pd.Series[int]:
    """The fold of each row of `keep`, stratified by class."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    kind = StratifiedGroupKFold if grouped else StratifiedKFold
    splitter = kind(folds, shuffle=True, random_state=seed)
    fold = pd.Series(-1, index=keep.index)
    parts = splitter.split(keep, keep["class_index"], keep["group"] if grouped else None)
    for number, (_, members) in enumerate(parts):
        fold.iloc[members] = number
    return fold


def _check_counts(
    records: pd.DataFrame, keep: pd.DataFrame, unit: Literal["record", "group"], folds: int
) -> None:
    """Raise `SplitError` where a class of `records` has too few units in `keep`."""
    needed = max(len(SUBSETS), folds)
    labels = sorted(set(records.loc[records["class_index"] >= 0, "label"]))
    counts = keep.groupby("label")[unit].nunique().reindex(labels, fill_value=0)
    small = ", ".join(f"{label} has {n}" for label, n in counts.items() if n < needed)
    if keep.empty or small:
        raise SplitError(
            f"every class needs at least {needed} {unit}s (a group is a patient, or an image with "
            f"its copies) for 3 subsets and {folds} folds; {small or 'there is no usable image'}: "
            "add images, lower split.folds, or look at what ingest quarantined"
        )


def _ranks(records: pd.DataFrame) -> pd.Series[int]:
    """Place of each record's part in `SUBSETS`, -1 without one."""
    found = set(records.loc[records["status"] == USED, "part"])
    if "train" not in found or not found & {"val", "test"}:
        raise SplitError(
            "split.protocol is official, but the records have "
            + (f"only the part {', '.join(sorted(found))}" if found - {""} else "no official parts")
            + ": set data.parts to the folders train, val, test above the class folders, or take "
            "split=grouped"
        )
    unknown = sorted(found - {*SUBSETS, ""})
    if unknown:
        raise SplitError(f"data.parts: {unknown[0]} is none of {', '.join(SUBSETS)}")
    places = {name: place for place, name in enumerate(SUBSETS)}
    return records["part"].map(places).fillna(-1).astype("int64")
