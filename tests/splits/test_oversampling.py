"""Oversampling: train rows only, none lost, classes equal."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knee.splits import split_table
from tests.records.tables import records

SUBSETS = st.sampled_from(["train", "val", "test", "unused"])


@st.composite
def cases(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.DataFrame]:
    labels = draw(st.lists(st.integers(0, 2), min_size=4, max_size=50))
    table = records(labels, list(range(len(labels))))
    subsets = draw(st.lists(SUBSETS, min_size=len(labels) - 1, max_size=len(labels) - 1))
    subsets.insert(draw(st.integers(0, len(subsets))), "train")  # never without a train row
    return table, pd.DataFrame({"record": table["record"], "subset": subsets})


@settings(max_examples=30)
@given(cases(), st.integers(0, 5))
def test_classes_become_equal_from_train_rows_alone_and_none_is_lost(
    case: tuple[pd.DataFrame, pd.DataFrame], seed: int
) -> None:
    table, split = case
    rows = split_table.training_rows(table, split, "random", seed)
    train = split.loc[split["subset"] == "train", "record"]
    assert rows["record"].tolist()[: len(train)] == train.tolist()  # each once, before repeats
    assert set(rows["record"]) == set(train)
    counts = table.loc[train, "class_index"].value_counts()
    wanted = {label: counts.max() for label in counts.index}
    assert rows["class_index"].value_counts().to_dict() == wanted
    assert rows["class_index"].tolist() == table.loc[rows["record"], "class_index"].tolist()
    assert rows["pixel_row"].tolist() == table.loc[rows["record"], "pixel_row"].tolist()


@settings(max_examples=30)
@given(cases())
def test_without_oversampling_each_train_row_stands_once(
    case: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    table, split = case
    rows = split_table.training_rows(table, split, "none", 0)
    assert rows["record"].tolist() == split.loc[split["subset"] == "train", "record"].tolist()


@settings(max_examples=30)
@given(cases(), st.integers(0, 5))
def test_the_same_seed_repeats_the_same_rows(
    case: tuple[pd.DataFrame, pd.DataFrame], seed: int
) -> None:
    one, two = (split_table.training_rows(*case, "random", seed) for _ in range(2))
    assert one.equals(two)


def test_a_split_of_other_records_or_without_train_rows_is_a_clear_error() -> None:
    table = records([0, 1, 0, 1], [0, 1, 2, 3])
    split = pd.DataFrame({"record": table["record"], "subset": ["val", "val", "test", "test"]})
    with pytest.raises(split_table.SplitError, match="no train rows"):
        split_table.training_rows(table, split, "random", 0)
    for other in (split.iloc[:3], split.assign(record=[0, 1, 2, 9])):
        with pytest.raises(split_table.SplitError, match="of other records"):
            split_table.training_rows(table, other, "random", 0)
