"""What is expected of a split: good ones pass, each fault fails by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from knee.splits import protocols
from knee.validation import split_suite
from tests.records.tables import records

WANTED = split_suite.Wanted("grouped", 0.2, 0.2, 5, 2, 0.1)
RANDOM = dataclasses.replace(WANTED, protocol="random")
SHARES = {"validation_share": 0.2, "test_share": 0.2, "folds": 5, "seed": 0}


def table() -> pd.DataFrame:
    """80 films in two classes, two films a picture, and two that are set aside."""
    pictures = [n // 2 for n in range(80)]
    statuses = ["used"] * 78 + ["quarantined", "rejected"]
    return records([n // 2 % 2 for n in range(80)], pictures, pictures, statuses)


def grouped() -> pd.DataFrame:
    return protocols.grouped_split(table(), np.ones(80, np.bool_), **SHARES)  # type: ignore[arg-type]


def failed(
    split: pd.DataFrame, wanted: split_suite.Wanted = WANTED, docs: Path | None = None
) -> dict[str, list[str]]:
    """Failed expectations with their examples."""
    outcomes = split_suite.check(split, table(), wanted, docs)
    return {one["expectation"]: one["examples"] for one in outcomes if not one["success"]}


def test_a_grouped_split_meets_every_expectation() -> None:
    assert not failed(grouped())


def member(split: pd.DataFrame, subset: str) -> int:
    """The first record of a subset."""
    return int(split.loc[split["subset"] == subset, "record"].iloc[0])


def put(row: int, **values: int | str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(split: pd.DataFrame) -> pd.DataFrame:
        for name, value in values.items():
            split.loc[row, name] = value
        return split

    return change


def copy_in_test(split: pd.DataFrame) -> pd.DataFrame:
    """The unused copy of a training film goes into the test subset."""
    return put(member(split, "train") + 1, subset="test", fold=0)(split)


def without_a_class_in_val(split: pd.DataFrame) -> pd.DataFrame:
    odd = table()["class_index"] == 1
    gone = odd & (split["subset"] == "val")
    return split.assign(
        subset=split["subset"].mask(gone, "unused"), fold=split["fold"].mask(gone, -1)
    )


def half_in_val(split: pd.DataFrame) -> pd.DataFrame:
    train = split.index[split["subset"] == "train"]
    split.loc[train[: len(train) // 2], "subset"] = "val"
    return split


ROWS: list[tuple[int, dict[str, int | str], str]] = [
    (78, {"subset": "test", "fold": 0}, "no quarantined or rejected record is in a subset"),
    (79, {"fold": 2}, "no unused record is in a fold"),
    (0, {"fold": 5}, "each record of a subset is in a fold 0-4"),
    (2, {"fold": -1}, "each record of a subset is in a fold 0-4"),
    (4, {"group": 39}, "each row has its record's group"),
    (6, {"subset": "holdout"}, "each subset is train, val, test, unused"),
    (8, {"record": 9}, "each record has one row"),
    (10, {"record": 800}, "each row is of a record"),
]


@pytest.fixture(scope="module")
def found_in_rows() -> dict[str, list[str]]:
    """What fails where some rows have one fault each."""
    split = grouped()
    for row, values, _ in ROWS:
        split = put(row, **values)(split)
    return failed(split)


@pytest.mark.parametrize(("row", "values", "sentence"), ROWS)
def test_a_fault_of_a_row_fails_the_expectation_that_names_it(
    found_in_rows: dict[str, list[str]], row: int, values: dict[str, int | str], sentence: str
) -> None:
    record = values.get("record", row)
    starts = (f"record {record} ", f"record {record}:", f"{record}")
    assert any(example.startswith(starts) for example in found_in_rows[sentence])


@pytest.mark.parametrize(
    ("fault", "sentences"),
    [
        (copy_in_test, {"no group is in two subsets", "each picture is there once"}),
        (
            lambda split: split[1:].assign(extra=1),
            {"there are 80 rows, one per record", "the columns are record, subset, fold, group"},
        ),
        (half_in_val, {"each subset's share is within 0.1 of the wanted one"}),
    ],
)
def test_a_fault_of_the_whole_fails_the_expectations_that_name_it(
    fault: Callable[[pd.DataFrame], pd.DataFrame], sentences: set[str]
) -> None:
    assert sentences <= set(failed(fault(grouped())))


def test_a_failure_names_records_and_files() -> None:
    split = grouped()
    record = member(split, "train")
    (example,) = failed(copy_in_test(split))["no group is in two subsets"]
    named = [f"record {n} (class{n // 2 % 2}/{n:04d}.png)" for n in (record, record + 1)]
    assert example == f"group {record // 2} ({', '.join(named)}): subsets 2"


def test_a_class_that_a_subset_lacks_is_named() -> None:
    found = failed(without_a_class_in_val(grouped()))
    sentence = "each class has at least 2 records in each subset"
    assert found[sentence] == ["val class1: records 0"]


def test_what_a_random_split_breaks_is_reported_as_not_asked_for(tmp_path: Path) -> None:
    split = protocols.random_split(table(), **SHARES)  # type: ignore[arg-type]
    outcomes = split_suite.check(split, table(), RANDOM, tmp_path)
    assert all(one["success"] for one in outcomes)
    assert {one["expectation"] for one in outcomes if not one["asked"]} == {
        "no group is in two subsets",
        "no group is in two folds",
        "each picture is there once",
        "no quarantined or rejected record is in a subset",
    }
    assert "LEAKY SPLIT" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_the_same_split_fails_where_grouped_was_asked_for() -> None:
    split = protocols.random_split(table(), **SHARES)  # type: ignore[arg-type]
    assert "no group is in two subsets" in failed(split)


def test_of_an_official_split_no_shares_are_asked_but_groups_are() -> None:
    wanted = dataclasses.replace(RANDOM, protocol="official", test_share=0.9)
    outcomes = split_suite.check(grouped(), table(), wanted, None)
    assert all(one["success"] for one in outcomes)
    not_asked = [one["expectation"] for one in outcomes if not one["asked"]]
    assert len(not_asked) == 1
    assert "share" in not_asked[0]
    crossed = split_suite.check(copy_in_test(grouped()), table(), wanted, None)
    assert not all(one["success"] for one in crossed)
