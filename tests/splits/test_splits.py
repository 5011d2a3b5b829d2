"""Splits: no group in two subsets, every class everywhere, the leaky one measured as leaky."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knee.splits import protocols, split_table
from tests.records.tables import records

SHARES: dict[str, Any] = {"validation_share": 0.15, "test_share": 0.2, "folds": 3, "seed": 42}


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """15-60 groups of 1-4 records, each class in enough of them; some patients have two."""
    count = draw(st.integers(15, 60))
    labels: list[int] = []
    groups: list[int] = []
    for group in range(count):
        for _ in range(draw(st.integers(1, 4))):
            other = draw(st.booleans()) and draw(st.booleans())
            labels.append((group + other) % 3)
            groups.append(group)
    return records(labels, groups)


def grouped(table: pd.DataFrame, seed: int = 42) -> pd.DataFrame:
    return protocols.grouped_split(table, np.ones(len(table), bool), **{**SHARES, "seed": seed})


@settings(max_examples=40)
@given(tables())
def test_each_record_stands_once_each_group_in_one_subset_each_class_everywhere(
    table: pd.DataFrame,
) -> None:
    split = grouped(table)
    assert sorted(split["record"]) == sorted(table["record"])
    assert set(split["subset"]) == set(split_table.SUBSETS)
    assert set(split["fold"]) == set(range(SHARES["folds"]))
    assert split.groupby("group")["subset"].nunique().max() == 1
    assert split.groupby("group")["fold"].nunique().max() == 1
    assert split_table.leakage(table, split) == 0
    counts = pd.crosstab(table["label"], split["subset"])
    largest = table.groupby("group").size().max()
    for label, row in counts.iterrows():
        assert (row[list(split_table.SUBSETS)] > 0).all(), label
        for subset, share in (("val", 0.15), ("test", 0.2)):
            assert abs(row[subset] - share * row.sum()) <= 2 * largest + 0.1 * row.sum()


@st.composite
def uneven_tables(draw: st.DrawFn) -> pd.DataFrame:
    """Three groups of its own for each class, of 1-40 records, and groups that mix classes."""
    sizes = st.sampled_from([1, 2, 10, 40])
    contents = [{label: draw(sizes)} for label in range(3) for _ in range(3)]
    mixed = st.dictionaries(st.integers(0, 2), sizes, min_size=2)
    contents += draw(st.lists(mixed, max_size=6))
    rows = [
        (label, group)
        for group, content in enumerate(contents)
        for label, count in sorted(content.items())
        for _ in range(count)
    ]
    return records([label for label, _ in rows], [group for _, group in rows])


@settings(max_examples=60)
@given(uneven_tables())
def test_a_class_with_three_groups_of_its_own_is_in_every_subset(table: pd.DataFrame) -> None:
    counts = pd.crosstab(table["label"], grouped(table)["subset"])
    assert set(counts.columns) == set(split_table.SUBSETS)
    assert counts.to_numpy().min() > 0


def test_a_rare_class_in_groups_full_of_another_is_in_every_subset() -> None:
    # Large groups of class 1 fill val and test, so class 0 would follow its own class 1 into train.
    labels = [1] * 300 + [0, *[1] * 10] * 3
    groups = [n // 100 for n in range(300)] + [3 + n // 11 for n in range(33)]
    split = grouped(records(labels, groups))
    rare = split.loc[[label == 0 for label in labels], "subset"]
    assert sorted(rare) == sorted(split_table.SUBSETS)


def test_classes_that_cannot_all_be_everywhere_are_a_clear_error() -> None:
    # Seven classes as the lines of the Fano plane: three groups each, any two share one.
    lines = ["012", "034", "056", "135", "146", "236", "245"]
    pairs = [(label, int(group)) for label, line in enumerate(lines) for group in line]
    table = records([label for label, _ in pairs], [group for _, group in pairs])
    with pytest.raises(
        split_table.SplitError, match=r"class\d cannot be in all of train, val, test"
    ):
        grouped(table)


@settings(max_examples=20)
@given(tables(), st.randoms())
def test_the_order_of_the_rows_does_not_matter(
    table: pd.DataFrame, random: np.random.Generator
) -> None:
    order = list(range(len(table)))
    random.shuffle(order)
    shuffled = grouped(table.iloc[order].reset_index(drop=True)).set_index("record")["subset"]
    assert shuffled.sort_index().equals(grouped(table).set_index("record")["subset"])


def test_one_original_stands_for_all_copies_of_a_picture() -> None:
    labels = [n % 3 for n in range(30)]
    table = records([*labels, 0, 0], [*range(30), 0, 3], pictures=[*range(30), 0, 3])
    originals = np.ones(32, bool)
    originals[0] = False  # the first file of picture 0 is a derived copy, the last one is not
    split = protocols.grouped_split(table, originals, **SHARES)
    assert split.loc[0, "subset"] == split_table.UNUSED
    assert split.loc[30, "subset"] != split_table.UNUSED
    assert split.loc[31, "subset"] == split_table.UNUSED
    assert (split.loc[split["subset"] == split_table.UNUSED, "fold"] == -1).all()


def test_quarantined_and_rejected_records_are_left_out_of_the_grouped_split() -> None:
    statuses = ["used"] * 30 + ["quarantined", "rejected"]
    table = records([n % 3 for n in range(32)], list(range(32)), statuses=statuses)
    assert grouped(table).loc[[30, 31], "subset"].tolist() == [split_table.UNUSED] * 2


def test_another_seed_gives_another_split_and_the_same_seed_the_same() -> None:
    table = records([n % 3 for n in range(90)], list(range(90)))
    assert grouped(table).equals(grouped(table))
    assert not grouped(table, seed=1)["subset"].equals(grouped(table)["subset"])


def test_a_class_with_too_few_groups_is_named_with_its_count() -> None:
    table = records([0] * 20 + [1, 1], [*range(20), 20, 20])
    with pytest.raises(split_table.SplitError, match="class1 has 1"):
        grouped(table)


def test_a_class_without_any_used_record_is_named_not_dropped() -> None:
    statuses = ["quarantined" if n % 3 == 2 else "used" for n in range(90)]
    table = records([n % 3 for n in range(90)], list(range(90)), statuses=statuses)
    with pytest.raises(split_table.SplitError, match="class2 has 0"):
        grouped(table)


def test_the_random_split_takes_all_pixels_and_leaks_planted_copies() -> None:
    statuses = ["quarantined"] * 60 + ["used"] * 240 + ["rejected"]
    groups = [n // 10 for n in range(301)]
    table = records([n % 3 for n in range(301)], groups, pictures=groups, statuses=statuses)
    shares = {**SHARES, "validation_share": 0.1, "test_share": 0.1}
    split = protocols.random_split(table, **shares)
    assert split["subset"].value_counts().to_dict() == {
        "train": 240,
        "val": 30,
        "test": 30,
        split_table.UNUSED: 1,
    }
    assert split_table.leakage(table, split) > 0.9
    summary = split_table.split_metrics(table, split, "random", synthetic=True)
    assert summary["leaky"] is True
    assert summary["synthetic"] is True
    assert summary["leakage"] == pytest.approx(split_table.leakage(table, split))


def test_the_random_split_is_the_published_one() -> None:
    from sklearn.model_selection import train_test_split

    table = records([n % 3 for n in range(150)], list(range(150)))
    split = protocols.random_split(table, validation_share=0.1, test_share=0.1, folds=5, seed=42)
    labels = table["class_index"]
    _, held = train_test_split(table, test_size=0.2, stratify=labels, random_state=42)
    _, test = train_test_split(held, test_size=0.5, stratify=held["class_index"], random_state=42)
    assert set(split.loc[split["subset"] == "test", "record"]) == set(test["record"])


def test_a_random_split_of_too_few_images_is_a_clear_error() -> None:
    with pytest.raises(split_table.SplitError, match="class0 has 2, class1 has 1"):
        protocols.random_split(records([0, 0, 1], [0, 1, 2]), **SHARES)
    with pytest.raises(split_table.SplitError, match="too small for a stratified random split"):
        protocols.random_split(records([0] * 20 + [1] * 3, list(range(23))), **SHARES)


def test_leakage_counts_test_records_with_a_relative_in_train() -> None:
    table = records([0] * 6, [0, 1, 2, 3, 4, 0], pictures=[0, 1, 2, 3, 4, 5])
    subsets = ["train", "train", "val", "test", "test", "test"]
    split = pd.DataFrame({"record": range(6), "subset": subsets})
    assert split_table.leakage(table, split) == pytest.approx(1 / 3)  # one shares group 0
    table.loc[3, "picture"] = 1
    assert split_table.leakage(table, split) == pytest.approx(2 / 3)  # another shares picture 1
    table.loc[4, "picture"] = 2
    assert split_table.leakage(table, split) == pytest.approx(2 / 3)  # val is not train


def test_a_written_split_is_read_back_as_it_was(tmp_path: Path) -> None:
    split = grouped(records([n % 3 for n in range(30)], list(range(30))))
    split.to_csv(tmp_path / "split.csv", index=False)
    assert split_table.read_split(tmp_path / "split.csv").equals(split)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "record,subset\n0,train\n",
        "record,subset,fold,group\n0,train,first,0\n",
        "record,subset,fold,group\n0,held,0,0\n",
        "record,subset,fold,group\n0,,0,0\n",
        f"record,subset,fold,group\n{10**30},train,0,0\n",
    ],
)
def test_a_table_that_is_no_split_is_a_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "split.csv").write_text(text, encoding="utf-8")
    with pytest.raises(split_table.SplitError, match=r"split\.csv is not a split table"):
        split_table.read_split(tmp_path / "split.csv")
