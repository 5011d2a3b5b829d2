"""The split table: subset and fold of each record. Reading, making, figures, training rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.records import known_patients
from knee.records.records_table import USED
from knee.run.errors import UserError
from knee.storage.artifacts import NO_TABLE

SUBSETS: Final = ("train", "val", "test")
UNUSED: Final = "unused"
COLUMNS: Final = {"record": "int64", "subset": "str", "fold": "int64", "group": "int64"}
ROWS: Final = ("record", "class_index", "pixel_row")  # columns of training rows, int64


class SplitError(UserError):
    """The records cannot be split as asked, or a split table is not one."""


def read_split(path: Path) -> pd.DataFrame:
    """Return the split table at `path`, columns of `COLUMNS`.

    Raises:
        SplitError: it is missing or damaged.
    """
    try:
        frame = pd.read_csv(path, dtype=COLUMNS)
    except FileNotFoundError as error:
        raise SplitError(f"{path} does not exist: run the split stage") from error
    except NO_TABLE as error:
        raise SplitError(f"{path} is not a split table: {error}") from error
    if list(frame.columns) != list(COLUMNS):
        raise SplitError(f"{path} is not a split table: its columns are {list(frame.columns)}")
    unknown = sorted(set(frame["subset"].fillna("")) - {*SUBSETS, UNUSED})
    if unknown:
        raise SplitError(f"{path} is not a split table: it has a subset {unknown[0]!r}")
    return frame


def read_rows(path: Path) -> pd.DataFrame:
    """Return the table of training rows that oversample wrote.

    Raises:
        SplitError: it is missing or damaged.
    """
    try:
        frame = pd.read_csv(path, dtype=dict.fromkeys(ROWS, "int64"))
    except (OSError, *NO_TABLE) as error:
        raise SplitError(
            f"{path} is no table of training rows ({error}): run `dvc repro`"
        ) from error
    if tuple(frame.columns) != ROWS or frame.empty:
        raise SplitError(f"{path} is no table of training rows: run `dvc repro`")
    return frame


def one_of_each_copy_group(records: pd.DataFrame, originals: npt.NDArray[np.bool_]) -> pd.DataFrame:
    """Return one used record of each copy group, by record number.

    It is the first original, or the first record where all are derived copies: those for which
    `originals`, (records,), is False.
    """
    ordered = records.assign(derived=~originals)[records["status"] == USED]
    ordered = ordered.sort_values(["derived", "record"]).drop_duplicates("picture")
    return ordered.sort_values("record")


def split_of_all(
    records: pd.DataFrame, keep: pd.DataFrame, subset: pd.Series[str], fold: pd.Series[int]
) -> pd.DataFrame:
    """Return the split table of all `records`; those not in `keep` are unused."""
    frame = pd.DataFrame(
        {"record": records["record"], "subset": UNUSED, "fold": -1, "group": records["group"]}
    )
    frame.loc[keep.index, "subset"] = subset
    frame.loc[keep.index, "fold"] = fold
    return frame.astype(COLUMNS)


def leakage(records: pd.DataFrame, split: pd.DataFrame) -> float:
    """Return the share, 0-1, of test records with a copy or the same patient in train."""
    joined = records[["record", "picture", "group"]].merge(split[["record", "subset"]], on="record")
    train, test = (joined[joined["subset"] == name] for name in ("train", "test"))
    related = test["picture"].isin(train["picture"]) | test["group"].isin(train["group"])
    return float(related.mean()) if len(test) else 0.0


def development_images(records: pd.DataFrame, split: pd.DataFrame) -> int:
    """Return the number of different images in train and val: copies of an image count once."""
    members = split.loc[split["subset"].isin(["train", "val"]), "record"]
    return int(records.loc[records["record"].isin(members), "picture"].nunique())


def members(records: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """Return the records that are in a subset."""
    return records[records["record"].isin(split.loc[split["subset"] != UNUSED, "record"])]


def patient_counts(records: pd.DataFrame, split: pd.DataFrame) -> dict[str, int]:
    """Return the counts of `known_patients` over the records that are in a subset."""
    return known_patients.patient_counts(members(records, split))


def split_metrics(
    records: pd.DataFrame, split: pd.DataFrame, protocol: str, *, synthetic: bool
) -> dict[str, Any]:
    """Return counts, leakage and known patients of a split, the content of metrics/split.json."""
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
        "patients": patient_counts(records, split),
        "synthetic": synthetic,
        "subsets": counts,
    }


def training_rows(
    records: pd.DataFrame, split: pd.DataFrame, method: Literal["random", "none"], seed: int
) -> pd.DataFrame:
    """Return rows of the train subset: each once, then the repeats that `method` adds.

    "random" repeats rows at random (imblearn's `RandomOverSampler`) until every class has as many
    as the largest; "none" repeats nothing. Of `split` the columns record and subset are read.

    Returns:
        Columns `ROWS`. No row of val or test is ever in it.

    Raises:
        SplitError: the split is of other records, or has no train rows.
    """
    if sorted(records["record"]) != sorted(split["record"]):
        raise SplitError("the split is of other records: run the split stage again")
    joined = records.merge(split[["record", "subset"]], on="record")
    rows = joined.loc[joined["subset"] == "train", list(ROWS)]
    rows = rows.reset_index(drop=True)
    if rows.empty:
        raise SplitError("the split has no train rows: run the split stage again")
    if method == "none" or rows["class_index"].nunique() < 2:
        return rows
    from imblearn.over_sampling import RandomOverSampler

    positions = np.arange(len(rows))[:, np.newaxis]
    sampler = RandomOverSampler(random_state=seed)
    chosen, _ = sampler.fit_resample(positions, rows["class_index"].to_numpy())
    repeated: pd.DataFrame = rows.iloc[chosen[:, 0]].reset_index(drop=True)
    return repeated
