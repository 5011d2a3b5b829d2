"""What a split holds, in figures: metrics/split.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.run.errors import UserError


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


SUBSETS: Final = ("train", "val", "test")
UNUSED: Final = "unused"
COLUMNS: Final = {"record": "int64", "subset": "str", "fold": "int64", "group": "int64"}


class SplitError(UserError):
    """The records cannot be split as asked, or a split table is not one."""


def leakage(records: pd.DataFrame, split: pd.DataFrame) -> float:
    """Share, 0-1, of test records with a record of the same picture or patient in train."""
    joined = records[["record", "picture", "group"]].merge(split[["record", "subset"]], on="record")
    train, test = (joined[joined["subset"] == name] for name in ("train", "test"))
    related = test["picture"].isin(train["picture"]) | test["group"].isin(train["group"])
    return float(related.mean()) if len(test) else 0.0


def read_split(path: Path) -> pd.DataFrame:
    """The table at `path`, columns of `COLUMNS`; `SplitError` if it is none."""
    try:
        frame = pd.read_csv(path, dtype=COLUMNS)
    except FileNotFoundError as error:
        raise SplitError(f"{path} does not exist: run the split stage") from error
    except (ValueError, TypeError) as error:
        raise SplitError(f"{path} is not a split table: {error}") from error
    if list(frame.columns) != list(COLUMNS):
        raise SplitError(f"{path} is not a split table: its columns are {list(frame.columns)}")
    strange = sorted(set(frame["subset"].fillna("")) - {*SUBSETS, UNUSED})
    if strange:
        raise SplitError(f"{path} is not a split table: it has a subset {strange[0]!r}")
    return frame


def one_a_picture(records: pd.DataFrame, originals: npt.NDArray[np.bool_]) -> pd.DataFrame:
    """Of each picture's used records the first original, else the first; by record number."""
    ordered = records.assign(derived=~originals)[records["status"] == "used"]
    ordered = ordered.sort_values(["derived", "record"]).drop_duplicates("picture")
    return ordered.sort_values("record")


def as_table(
    records: pd.DataFrame, keep: pd.DataFrame, subset: pd.Series[str], fold: pd.Series[int]
) -> pd.DataFrame:
    """The split table of all `records`; those not in `keep` are unused."""
    frame = pd.DataFrame(
        {"record": records["record"], "subset": UNUSED, "fold": -1, "group": records["group"]}
    )
    frame.loc[keep.index, "subset"] = subset
    frame.loc[keep.index, "fold"] = fold
    return frame.astype(COLUMNS)
