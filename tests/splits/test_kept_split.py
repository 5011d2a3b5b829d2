"""A kept split: no image moves while images are added, whatever joins them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from knee.splits import kept_split, protocols
from tests.records.tables import records

SHARES: dict[str, Any] = {"validation_share": 0.15, "test_share": 0.2, "folds": 3, "seed": 42}


def films(count: int) -> pd.DataFrame:
    """The first `count` films of a growing folder; every fifth one is of a known patient."""
    table = records([n % 3 for n in range(count)], range(count))
    return table.assign(patient=[f"{n:016x}" if n % 5 == 0 else "" for n in range(count)])


def subsets(table: pd.DataFrame, kept: dict[str, str] | None = None) -> dict[str, str]:
    """The subset of each image, by its digest."""
    split = protocols.grouped_split(table, np.ones(len(table), bool), **SHARES, kept=kept)
    found = kept_split.subsets_table(table, split)
    return dict(zip(found["pixel_sha256"], found["subset"], strict=True))


def test_with_one_kept_table_no_image_ever_moves_and_shares_stay_near() -> None:
    kept = subsets(films(120))
    before = kept
    for count in range(150, 301, 50):
        after = subsets(films(count), kept)
        assert before.items() <= after.items()
        before = after
    shares = pd.Series(before).value_counts(normalize=True)
    assert shares.to_dict() == pytest.approx({"train": 0.65, "val": 0.15, "test": 0.2}, abs=0.06)


def test_a_new_image_of_a_group_gets_its_groups_subset() -> None:
    kept = subsets(films(120))
    table = films(121)
    for group in range(0, 120, 24):
        table.loc[120, "group"] = group
        assert subsets(table, kept)[table["pixel_sha256"][120]] == kept[f"{group:064x}"]


def test_later_images_of_a_new_patient_do_not_move_the_first_one() -> None:
    kept = subsets(films(120))
    table = pd.concat([films(120), films(180).iloc[120:]])
    first = subsets(table, kept)
    later = table.assign(
        record=table["record"] + 1000,
        source="later " + table["source"],
        pixel_sha256=[f"{n:063x}" for n in range(180)],  # all come first in alphabetical order
        picture=table["picture"] + 1000,
    )
    known = table["patient"] != ""
    both = subsets(pd.concat([table, later[known]], ignore_index=True), kept)
    assert first.items() <= both.items()


def test_the_table_has_unused_copies_with_the_subset_of_their_group() -> None:
    table = records([n % 3 for n in [*range(60), 0]], [*range(60), 0], [*range(60), 0])
    found = subsets(table)
    assert len(found) == 61
    assert found[f"{60:064x}"] == found[f"{0:064x}"]


def test_what_is_in_no_subset_is_not_in_the_table() -> None:
    statuses = ["used"] * 60 + ["quarantined", "rejected"]
    table = records([n % 3 for n in range(62)], range(62), statuses=statuses)
    assert len(subsets(table)) == 60


def test_hashes_are_even_and_follow_the_seed() -> None:
    places = kept_split.place_groups(films(3000), {}, {"train": 0.65, "val": 0.15, "test": 0.2}, 1)
    shares = pd.Series(places).value_counts(normalize=True)
    assert shares.to_dict() == pytest.approx({"train": 0.65, "val": 0.15, "test": 0.2}, abs=0.03)
    assert places != kept_split.place_groups(
        films(3000), {}, {"train": 0.65, "val": 0.15, "test": 0.2}, 2
    )
