"""The split that a data set's makers gave: the folders train, val and test above the classes.

Where only one of val and test is there, it is the test subset, and the val subset is drawn from
train by whole groups: nothing that is reported has chosen anything.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from stages.radiographs import splits
from stages.radiographs.records import USED

PARTS = ("train", "val", "test")  # a group in several of them counts for the last


def official_split(
    records: pd.DataFrame,
    originals: npt.NDArray[np.bool_],
    *,
    validation_share: float,
    folds: int,
    seed: int,
) -> pd.DataFrame:
    """One record a picture, in the subset of its part; no group in two subsets.

    Records in train whose patient or picture is in val or test too are `unused`.

    Args:
        records: the records table, with its column part.
        originals: (rows,) False for copies that their file names call derived.
        validation_share: of train, 0-1, where val has to be drawn from it.
        folds: folds of the fold column.
        seed: of what is drawn.

    Returns:
        The columns of `splits.grouped_split`.

    Raises:
        SplitError: no parts, no train part, none beside it, or too few groups of a class.
    """
    used = records["status"] == USED
    rank = _ranks(records)
    in_group = rank[used].groupby(records["group"]).max()
    counted = used & (rank == records["group"].map(in_group))
    candidates = records.assign(status=records["status"].where(counted, ""))
    keep = splits.one_a_picture(candidates, originals)
    splits.check_counts(records, keep, "group", folds)
    subset = keep["part"].copy()
    if len(set(subset)) < len(PARTS):
        subset[subset != "train"] = "test"
        train = keep[subset == "train"]
        shares = {"train": 1 - validation_share, "val": validation_share}
        subset[train.index] = train["group"].map(splits.deal_out(train, shares, seed))
    fold = splits.deal_folds(keep, folds, seed, grouped=True)
    return splits.as_table(records, keep, subset, fold)


def _ranks(records: pd.DataFrame) -> pd.Series[int]:
    """Place of each record's part in `PARTS`, -1 without one."""
    found = set(records.loc[records["status"] == USED, "part"])
    if "train" not in found or not found & {"val", "test"}:
        raise splits.SplitError(
            "split.protocol is official, but the records have "
            + (f"only the part {', '.join(sorted(found))}" if found - {""} else "no official parts")
            + ": set data.parts to the folders train, val, test above the class folders, or take "
            "split=grouped"
        )
    strange = sorted(found - {*PARTS, ""})
    if strange:
        raise splits.SplitError(f"data.parts: {strange[0]} is none of {', '.join(PARTS)}")
    places = {name: place for place, name in enumerate(PARTS)}
    return records["part"].map(places).fillna(-1).astype("int64")
