"""Folds hold every record out once a repeat, and keep groups on one side."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from knee.splits.cross_validation import repeated_folds


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), min_size=6, max_size=60))
def test_each_repeat_holds_every_record_out_once_and_no_group_is_on_both_sides(
    drawn: list[tuple[int, int]],
) -> None:
    labels, groups = np.array(drawn).T
    for folds in repeated_folds(labels, groups, folds=3, repeats=2, seed=1):
        held = np.concatenate([held_out for _, held_out in folds])
        assert sorted(held.tolist()) == list(range(len(labels)))
        for train, held_out in folds:
            assert not set(groups[train]) & set(groups[held_out])
            assert len(train) + len(held_out) == len(labels)


def test_repeats_differ_and_the_seed_fixes_them() -> None:
    labels, groups = np.arange(40) % 2, np.arange(40)
    one = repeated_folds(labels, groups, folds=4, repeats=2, seed=7)
    again = repeated_folds(labels, groups, folds=4, repeats=2, seed=7)
    assert [held.tolist() for _, held in one[0]] == [held.tolist() for _, held in again[0]]
    assert [held.tolist() for _, held in one[0]] != [held.tolist() for _, held in one[1]]


def test_a_class_with_few_groups_gives_fewer_folds_and_one_of_one_group_none() -> None:
    labels = np.array([0] * 9 + [1] * 3)
    assert len(repeated_folds(labels, np.arange(12), folds=5, repeats=1, seed=0)[0]) == 3
    assert not repeated_folds(labels, np.minimum(np.arange(12), 9), folds=5, repeats=1, seed=0)
