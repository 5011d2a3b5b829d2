"""Counts, copies, leakage and origins, each against a table made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from knee.audit import audit_facts, shortcut_scores
from knee.records import file_names
from knee.splits import protocols
from knee.statistics.bootstrap import Bootstrap
from knee.storage import artifacts, row_files
from knee.storage.arrays import Pixels
from tests.records.tables import records

PATTERNS = file_names.compile_patterns([r"_aug_\d+$"])
PROTOCOL = shortcut_scores.ShortcutProtocol(
    folds=3, repeats=1, permutations=19, alarm_level=0.05, seed=0, bootstrap=Bootstrap(50, 0.95, 0)
)


def unused(table: pd.DataFrame) -> pd.DataFrame:
    """A split that uses nothing."""
    return pd.DataFrame(
        {"record": table["record"], "subset": "unused", "fold": -1, "group": table["group"]}
    )


def facts(table: pd.DataFrame, split: pd.DataFrame | None = None) -> dict[str, object]:
    split = unused(table) if split is None else split
    return audit_facts.facts(table, split, PATTERNS)


def family() -> pd.DataFrame:
    """One picture in five files, each related to the first in another way, and a stranger."""
    table = records([0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 1])
    table["source"] = [
        "class0/a.png",
        "class0/b.png",
        "class0/c.png",
        "class0/a_aug_1.png",
        "class0/d.png",
        "class1/e.png",
    ]
    table["sha256"] = [f"{n:064x}" for n in (0, 0, 2, 3, 4, 5)]
    table["pixel_sha256"] = [f"{n:064x}" for n in (0, 0, 0, 3, 4, 5)]
    return table


def test_each_copy_is_counted_once_by_its_strongest_relation() -> None:
    found = facts(family())
    kinds = {"same_bytes": 1, "same_pixels": 1, "same_name": 1, "near_copy": 1}
    assert found["copies"] == kinds
    assert found["pictures"] == 2
    assert found["records"] == sum(kinds.values()) + 2
    assert (found["distinct_files"], found["distinct_pixels"]) == (5, 4)


def test_a_patient_with_two_diagnoses_is_no_conflict_but_a_picture_is() -> None:
    table = records([0, 1, 0, 1], [0, 0, 1, 1], [0, 1, 2, 2])
    found = facts(table)
    assert (found["groups"], found["pictures"]) == (2, 3)
    assert (found["conflicting_groups"], found["conflicting_pictures"]) == (1, 1)


def test_decisions_are_counted_and_an_excluded_copy_is_no_conflict() -> None:
    table = records([0, 1, 0, 1], [0, 0, 1, 1], [0, 0, 1, 1], ["used", "quarantined"] * 2)
    assert "reviewed" not in facts(table)
    table["decision"] = ["kept", "excluded", "relabelled from class1", ""]
    found = facts(table)
    assert found["reviewed"] == {"kept": 1, "relabelled": 1, "excluded": 1}
    assert found["conflicting_pictures"] == 1


def test_rejected_files_are_counted_and_are_no_pictures() -> None:
    table = records([0, 1, 1], [0, 1, -1], [0, 1, -1], ["used", "quarantined", "rejected"])
    table.loc[2, "sha256"] = ""
    found = facts(table)
    assert (found["records"], found["used"], found["quarantined"], found["rejected"]) == (
        3,
        1,
        1,
        1,
    )
    assert (found["distinct_files"], found["groups"]) == (2, 2)


def test_leakage_of_the_published_protocol_and_of_the_split_in_use() -> None:
    """Twenty copies of each picture: hardly a test film whose picture is not in training."""
    count = 400
    table = records([n % 2 for n in range(count)], [n % 20 for n in range(count)])
    table["picture"] = table["group"]
    grouped = protocols.grouped_split(
        table, np.ones(count, np.bool_), validation_share=0.2, test_share=0.2, folds=2, seed=0
    )
    found = facts(table, grouped)
    assert found["leakage"] == {"random": 1.0, "in_use": 0.0}
    random = protocols.random_split(table, folds=2, **audit_facts.PUBLISHED)
    assert facts(table, random)["leakage"] == {"random": 1.0, "in_use": 1.0}


def test_too_few_records_for_a_random_split_leave_its_leakage_undefined() -> None:
    leakage = facts(records([0, 1], [0, 1]))["leakage"]
    assert leakage == {"random": None, "in_use": 0.0}


def test_notes_are_counted_phrase_by_phrase_of_images_only() -> None:
    table = records([0, 1, 1, 1], [0, 1, 2, -1], statuses=["used"] * 3 + ["rejected"])
    assert facts(table)["notes"] == {}
    table["note"] = ["polarity: a; window: b", "", "polarity: a", "polarity: a"]
    assert facts(table)["notes"] == {"polarity: a": 2, "window: b": 1}


def test_origins_are_counted_by_label_and_empty_where_none_is_known() -> None:
    table = records([0, 0, 1], [0, 1, 2])
    assert facts(table)["origins"] == {}
    table["origin"] = ["A", "", "A"]
    assert facts(table)["origins"] == {
        "": {"class0": 1, "class1": 0},
        "A": {"class0": 1, "class1": 1},
    }


def test_a_split_of_other_records_is_refused() -> None:
    table = records([0, 1], [0, 1])
    with pytest.raises(artifacts.ArtifactError, match="run the split stage"):
        facts(table, unused(table)[:1])


def many(count: int = 60) -> tuple[pd.DataFrame, pd.DataFrame, Pixels]:
    """Films whose mean brightness is their class, their grouped split and their pixels."""
    table = records([n % 2 for n in range(count)], list(range(count)))
    split = protocols.grouped_split(
        table, np.ones(count, np.bool_), validation_share=0.2, test_share=0.3, folds=3, seed=0
    )
    noise = np.random.default_rng(0).integers(0, 100, (count, 32, 32))
    pixels = (noise + 100 * (np.arange(count) % 2)[:, np.newaxis, np.newaxis]).astype(np.uint8)
    return table, split, pixels


def test_shortcuts_are_scored_across_folds_and_on_the_splits_test_films() -> None:
    table, split, pixels = many()
    found = audit_facts.shortcut_facts(table, split, pixels, table, PROTOCOL, 1000)
    assert found["alarms"] == ["border", "nearest_neighbour"]
    assert (found["shortcut_pictures"], found["chance"]) == (60, 0.5)
    assert set(found["shortcuts"]) == {"majority", "metadata", "border", "nearest_neighbour"}
    for name in ("border", "nearest_neighbour"):
        assert found["shortcuts"][name]["accuracy"] > 0.9
        assert found["shortcuts"][name]["test"]["macro_f1"] > 0.9
    assert found["shortcuts"]["metadata"]["balanced_accuracy"] <= 0.5


def test_more_pictures_than_allowed_are_thinned_out_by_whole_groups() -> None:
    table, split, pixels = many()
    table["group"] = table["record"] // 3
    found = audit_facts.shortcut_facts(table, split, pixels, table, PROTOCOL, 40)
    assert found["shortcut_pictures"] == 39


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is no array file"),
        (np.zeros((1, 8, 8), np.uint8), "has 1 images, the records ask for number 1"),
        (np.zeros((2, 8, 8), np.float32), "holds float32"),
        (np.array([{}]), "is no array file"),
    ],
)
def test_pixels_that_do_not_fit_are_named(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "pixels"
    if content is not None:
        path.mkdir()
        np.save(path / "00000.npy", content, allow_pickle=True)  # type: ignore[arg-type]
    with pytest.raises(artifacts.ArtifactError, match=message):
        row_files.PixelFile(path, np.array([0, 1]))
