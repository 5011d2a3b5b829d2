"""One picture under several labels: each policy sets aside what it says, and no other row."""

import pandas as pd
import pytest

from knee.records import conflicts


def table() -> pd.DataFrame:
    """Picture 0: two Normal, one Osteopenia; 1: a tie; 2: at one; and a rejected file."""
    return pd.DataFrame(
        {
            "picture": [0, 0, 0, 1, 1, 2, 2, -1],
            "label": ["Normal", "Normal", "Osteopenia", "b", "a", "a", "a", "b"],
            "pixel_row": [0, 1, 2, 3, 4, 5, 6, -1],
            "status": ["used"] * 7 + ["rejected"],
            "reason": [""] * 7 + ["no image"],
        },
        index=[10, 11, 12, 13, 14, 15, 16, 17],
    )


def test_pictures_under_several_labels_are_named_with_them() -> None:
    labels = ["b", "a", "a", "a", "c"]
    assert conflicts.conflicting_labels([0, 0, 1, 1, 0], labels) == {0: ["a", "b", "c"]}


@pytest.mark.parametrize(
    ("policy", "quarantined"),
    [("quarantine", [10, 11, 12, 13, 14]), ("majority", [12, 13, 14]), ("keep", [])],
)
def test_a_policy_quarantines_exactly_its_rows(
    policy: conflicts.Policy, quarantined: list[int]
) -> None:
    frame = table()
    resolved = conflicts.resolve(frame, policy)
    assert resolved.index[resolved["status"] == "quarantined"].tolist() == quarantined
    assert (resolved["reason"] != "").sum() == len(quarantined) + 1
    pd.testing.assert_frame_equal(frame, table())  # the argument is left alone
    untouched = [name for name in frame.columns if name not in ("status", "reason")]
    pd.testing.assert_frame_equal(resolved[untouched], frame[untouched])


def test_the_reason_names_the_labels_and_the_majority() -> None:
    resolved = conflicts.resolve(table(), "majority")
    assert resolved.loc[12, "reason"] == (
        "the same picture stands under Normal, Osteopenia, most often under Normal"
    )
    assert resolved.loc[13, "reason"] == "the same picture stands under a, b"


@pytest.mark.parametrize(
    ("labels", "most"), [(["a", "b", "a"], "a"), (["a", "b"], None), (["a"], "a"), ("aabbc", None)]
)
def test_a_majority_is_more_than_any_other(labels: list[str], most: str | None) -> None:
    assert conflicts.majority(labels) == most
