"""Who trains, who chooses the epoch, who is predicted: never two records of one group apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from knee.audit import shortcut_scores, shortcuts
from knee.records import file_names
from knee.splits import cross_validation
from knee.splits.cross_validation import CrossValidationError, CrossValidationProtocol
from knee.statistics.bootstrap import Bootstrap
from tests.records import tables

NO_PATTERNS = file_names.compile_patterns([])
PROTOCOL = CrossValidationProtocol(folds=4, repeats=2, validation_share=0.2, seed=3)


def kept() -> pd.DataFrame:
    """80 records of three classes, 8 : 5 : 3, in 40 groups of two."""
    labels = [(0, 1, 0, 2, 0, 1, 0, 1, 0, 2, 0, 1, 0, 1, 0, 2)[group % 16] for group in range(40)]
    return tables.records([labels[n // 2] for n in range(80)], [n // 2 for n in range(80)])


def as_split(records: pd.DataFrame, tested: list[int]) -> pd.DataFrame:
    subset = np.where(records["record"].isin(tested), "test", "train")
    return pd.DataFrame({"record": records["record"], "subset": subset})


def test_no_group_is_in_two_parts_of_a_fold_and_all_records_are_in_one() -> None:
    records = kept()
    groups = records["group"].to_numpy()
    folds = cross_validation.plan_folds(records, PROTOCOL)
    assert [(fold.repeat, fold.fold) for fold in folds] == [
        (r, f) for r in (0, 1) for f in range(4)
    ]
    for fold in folds:
        parts = [fold.training, fold.validation, fold.held_out]
        assert sorted(np.concatenate(parts).tolist()) == list(range(len(records)))
        seen = [set(groups[part]) for part in parts]
        assert not seen[0] & seen[1]
        assert not (seen[0] | seen[1]) & seen[2]


def test_every_record_is_held_out_once_a_repeat() -> None:
    folds = cross_validation.plan_folds(kept(), PROTOCOL)
    for repeat in (0, 1):
        held = np.concatenate([fold.held_out for fold in folds if fold.repeat == repeat])
        assert sorted(held.tolist()) == list(range(80))


def test_the_validation_part_has_its_share_and_every_class() -> None:
    records = kept()
    for fold in cross_validation.plan_folds(records, PROTOCOL):
        share = len(fold.validation) / (len(fold.validation) + len(fold.training))
        assert share == pytest.approx(0.2, abs=0.05)
        assert set(records["class_index"].iloc[fold.validation]) == {0, 1, 2}
        assert set(records["class_index"].iloc[fold.training]) == {0, 1, 2}


def test_the_folds_are_those_on_which_shortcuts_are_judged() -> None:
    """So the shortcut's and the model's figures can be compared in pairs."""
    records = kept()
    bound: list[list[int]] = []

    def spy(train: object, held: np.ndarray) -> shortcuts.Fitted:
        del train
        bound.append(held[:, 0].astype(int).tolist())
        return lambda labels: np.zeros(len(held), np.int64) + labels[0]

    shortcut = shortcuts.Shortcut(np.arange(80.0)[:, None], spy)
    protocol = shortcut_scores.ShortcutProtocol(4, 2, 1, 0.01, 3, Bootstrap(2, 0.95, 3))
    labels, groups = (records[name].to_numpy() for name in ("class_index", "group"))
    shortcut_scores.cross_validated(
        shortcut, shortcut_scores.Labelled(labels, groups, "abc"), protocol
    )
    planned = [f.held_out.tolist() for f in cross_validation.plan_folds(records, PROTOCOL)]
    assert bound == planned


def test_development_leaves_out_every_group_with_a_test_record() -> None:
    records = kept()
    split = as_split(records, [0, 11])
    everything = cross_validation.chosen_records(records, split, NO_PATTERNS, "all")
    chosen = cross_validation.chosen_records(records, split, NO_PATTERNS, "development")
    assert len(everything) == 80
    assert set(everything["group"]) - set(chosen["group"]) == {0, 5}


def test_only_one_used_record_a_picture_is_predicted() -> None:
    records = tables.records([0, 0, 1, 1], [0, 0, 1, 2], [0, 0, 1, 2], ["used"] * 3 + ["rejected"])
    records["source"] = ["a/1_aug_0.png", "a/1.png", "b/2.png", "b/3.png"]
    patterns = file_names.compile_patterns([r"_aug_\d+$"])
    chosen = cross_validation.chosen_records(records, as_split(records, []), patterns, "all")
    assert chosen["record"].tolist() == [1, 2]


def test_oversampling_repeats_training_rows_of_its_fold_alone() -> None:
    records = kept()
    fold = cross_validation.plan_folds(records, PROTOCOL)[1]
    rows = cross_validation.training_rows(records, fold, "random", 1)
    assert rows["class_index"].value_counts().nunique() == 1
    assert set(rows["record"]) == set(records["record"].iloc[fold.training])


def test_leakage_is_measured_and_none() -> None:
    records = kept()
    folds = cross_validation.plan_folds(records, PROTOCOL)
    assert cross_validation.leakage(records, folds) == 0
    assert cross_validation.leakage(records.assign(group=0), folds) == 1


def test_too_few_groups_are_an_error_that_says_what_to_do() -> None:
    with pytest.raises(CrossValidationError, match="add images"):
        cross_validation.plan_folds(tables.records([0, 0, 1], [0, 1, 2]), PROTOCOL)
    few = tables.records([0, 0, 1, 1], [0, 1, 2, 3])
    with pytest.raises(CrossValidationError, match=r"raise cross_validate\.folds"):
        cross_validation.plan_folds(few, PROTOCOL)


def test_another_split_and_an_empty_subset_are_refused() -> None:
    records = kept()
    with pytest.raises(CrossValidationError, match="run the split stage"):
        cross_validation.chosen_records(records, as_split(records, [])[1:], NO_PATTERNS, "all")
    with pytest.raises(CrossValidationError, match="no usable image"):
        every = as_split(records, list(range(80)))
        cross_validation.chosen_records(records, every, NO_PATTERNS, "development")
