"""The official split: parts are kept, nothing crosses them, and nothing reported has chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from knee.splits import split_table
from knee.splits.protocols import official_split
from tests.records.tables import records


def table(parts: Sequence[str], groups: Sequence[int] | None = None) -> pd.DataFrame:
    """20 records of each of 3 classes a part, each its own group unless said otherwise."""
    names = [part for part in parts for _ in range(60)]
    labels = [n % 3 for n in range(len(names))]
    return records(labels, groups or list(range(len(names)))).assign(part=names)


def split(frame: pd.DataFrame, seed: int = 42) -> pd.DataFrame:
    originals = np.ones(len(frame), bool)
    return official_split(frame, originals, validation_share=0.2, folds=3, seed=seed)


def test_three_parts_are_the_three_subsets() -> None:
    frame = table(["train", "val", "test"])
    assert split(frame)["subset"].tolist() == frame["part"].tolist()


@pytest.mark.parametrize("held", ["val", "test"])
def test_a_lone_held_out_part_is_the_test_and_val_is_drawn_from_train(held: str) -> None:
    frame = table(["train", held])
    made = split(frame)
    assert set(made.loc[frame["part"] == held, "subset"]) == {"test"}
    drawn = made.loc[frame["part"] == "train", "subset"]
    assert set(drawn) == {"train", "val"}
    assert (drawn == "val").sum() == pytest.approx(12, abs=3)
    assert not made["subset"].equals(split(frame, seed=7)["subset"])


def test_a_patient_of_several_parts_counts_for_the_last_and_never_crosses() -> None:
    groups = list(range(180))
    groups[0] = 60  # in train and val
    groups[61], groups[1] = 121, 121  # in train, val and test
    frame = table(["train", "val", "test"], groups)
    made = split(frame)
    assert made.loc[[0, 60, 1, 61, 121], "subset"].tolist() == [
        "unused",
        "val",
        "unused",
        "unused",
        "test",
    ]
    assert split_table.leakage(frame, made) == 0


def test_a_copy_in_train_does_not_take_a_test_record_away() -> None:
    frame = table(["train", "test"])
    frame.loc[60, ["picture", "group"]] = frame.loc[0, ["picture", "group"]]
    made = split(frame)
    assert made.loc[[0, 60], "subset"].tolist() == ["unused", "test"]


def test_rejected_and_quarantined_records_are_in_no_subset() -> None:
    frame = table(["train", "val"])
    frame.loc[[5, 70], "status"] = ["rejected", "quarantined"]
    assert split(frame).loc[[5, 70], "subset"].tolist() == ["unused", "unused"]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([""], "no official parts"),
        (["train"], "only the part train"),
        (["val", "test"], "only the part test, val"),
        (["train", "val", "exam"], "exam is none of train, val, test"),
    ],
)
def test_parts_that_make_no_split_are_refused(parts: list[str], message: str) -> None:
    with pytest.raises(split_table.SplitError, match=message):
        split(table(parts))
