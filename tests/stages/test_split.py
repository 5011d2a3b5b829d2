"""The split stage: copies go by their names, figures agree with the table, errors are clear."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from knee.records.records_table import read_records, write_records
from knee.splits.split_images import read_images
from knee.splits.split_table import read_split
from stages import split
from tests.records.tables import NO_SPLIT, records

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """60 films; each of the first 30 also has a copy, listed BEFORE it and named as derived."""
    pictures = [*range(30), *range(60)]
    table = records([picture % 3 for picture in pictures], pictures, pictures=pictures)
    copies = table.index < 30
    table["source"] = [
        f"class{picture % 3}/film {picture:02d}{'_aug_1' if copy else ''}.png"
        for picture, copy in zip(pictures, copies, strict=True)
    ]
    write_records(table, tmp_path / "records.csv")
    return tmp_path


def run(folder: Path, keep: Path = NO_SPLIT, **changes: object) -> int:
    values = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    values["split"] |= changes
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    files = {
        "params": "params.yaml",
        "records": "records.csv",
        "keep": str(keep),
        "split-out": "split.csv",
        "images-out": "split_images.csv",
        "subsets-out": "subsets.csv",
        "metrics-out": "split.json",
    }
    return split.main(
        [word for flag, name in files.items() for word in (f"--{flag}", str(folder / name))]
    )


def test_copies_named_as_derived_yield_to_their_originals(project: Path) -> None:
    assert run(project, protocol="grouped") == 0
    table = read_split(project / "split.csv")
    assert set(table.loc[table["subset"] == "unused", "record"]) == set(range(30))


def test_the_list_of_images_has_those_of_all_subsets_whatever_the_seed(project: Path) -> None:
    listed = set()
    for seed in (1, 2):
        assert run(project, protocol="grouped", seed=seed) == 0
        listed.add((project / "split_images.csv").read_bytes())
    table, records = read_split(project / "split.csv"), pd.read_csv(project / "records.csv")
    used = table.loc[table["subset"] != "unused", "record"]
    rows = sorted(records.loc[records["record"].isin(used), "pixel_row"])
    assert read_images(project / "split_images.csv").tolist() == rows
    assert len(listed) == 1


def test_without_the_grouping_planted_copies_leak(project: Path) -> None:
    leakage = {}
    for protocol in ("grouped", "random"):
        assert run(project, protocol=protocol) == 0
        leakage[protocol] = json.loads((project / "split.json").read_text())["leakage"]
    assert leakage["grouped"] == 0
    assert leakage["random"] > 0


@pytest.mark.parametrize("unknown", [0, 30, 90])
def test_no_relatives_are_never_reported_of_unknown_patients_without_saying_so(
    project: Path, caplog: pytest.LogCaptureFixture, unknown: int
) -> None:
    table = read_records(project / "records.csv")
    table["patient"] = [f"{picture:016x}" for picture in table["picture"]]
    table.loc[table.index >= 90 - unknown, "patient"] = ""
    write_records(table, project / "records.csv")
    with caplog.at_level(logging.INFO):
        assert run(project, protocol="grouped") == 0
    (line,) = (line for line in caplog.messages if "has a relative in train" in line)
    said = {0: "", 30: "the patient of 30 of 60 images", 90: "the patient of no image is known"}
    assert said[unknown] in line
    assert ("person" in line) == bool(unknown)
    facts = json.loads((project / "split.json").read_text())
    assert facts["patients"]["unknown"] == min(unknown, 60)


def test_the_official_split_needs_official_parts(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(project, protocol="official") == 1
    assert "set data.parts" in capsys.readouterr().err
    table = read_records(project / "records.csv")
    table["part"] = ["train" if picture < 40 else "val" for picture in table["picture"]]
    write_records(table, project / "records.csv")
    assert run(project, protocol="official") == 0
    facts = json.loads((project / "split.json").read_text())
    assert (facts["leaky"], facts["leakage"]) == (False, 0)
    assert facts["subsets"]["test"]["records"] == 20


@pytest.mark.parametrize("protocol", ["grouped", "random"])
def test_the_figures_are_those_of_the_table(project: Path, protocol: str) -> None:
    assert run(project, protocol=protocol) == 0
    facts = json.loads((project / "split.json").read_text())
    assert facts["protocol"] == protocol
    joined = read_split(project / "split.csv").merge(
        pd.read_csv(project / "records.csv")[["record", "label"]], on="record"
    )
    assert len(joined) == 90
    for name, counts in facts["subsets"].items():
        part = joined[joined["subset"] == name]
        assert counts["records"] == len(part)
        for label, number in part["label"].value_counts().items():
            assert counts[label] == number
        if name != "unused":
            assert counts["groups"] == part["group"].nunique()


@pytest.mark.parametrize("protocol", ["grouped", "random"])
def test_a_class_that_is_too_small_is_named_and_nothing_is_written(
    project: Path, protocol: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = records([0] * 30 + [1] * 30 + [2] * 2, list(range(62)))
    write_records(table, project / "records.csv")
    assert run(project, protocol=protocol) == 1
    complaint = capsys.readouterr().err
    assert complaint.startswith("split: ")
    assert "class2 has 2" in complaint
    assert not (project / "split.csv").exists()
    assert not (project / "split.json").exists()


def grown(folder: Path) -> Path:
    """Keep the split of 120 films; add 12, each listed before an old one. The kept table."""
    for count in (120, 132):
        table = records([film % 3 for film in range(count)], range(count))
        order = [*range(count)] if count == 120 else np.random.default_rng(0).permutation(count)
        table = table.iloc[order].assign(record=range(count)).reset_index(drop=True)
        write_records(table, folder / "records.csv")
        if count == 120:
            assert run(folder) == 0
    return (folder / "subsets.csv").rename(folder / "kept.csv")


def test_of_120_films_none_changes_sides_when_12_are_added(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = grown(tmp_path)
    assert "kept" not in json.loads((tmp_path / "split.json").read_text())
    with caplog.at_level(logging.INFO):
        assert run(tmp_path, kept) == 0
    before, after = (pd.read_csv(path) for path in (kept, tmp_path / "subsets.csv"))
    both = before.merge(after, on="pixel_sha256")
    assert len(before) == len(both) == 120
    assert both["subset_x"].equals(both["subset_y"])
    facts = json.loads((tmp_path / "split.json").read_text())["kept"]
    assert (facts["kept_groups"], facts["new_groups"], facts["joined_groups"]) == (120, 12, 0)
    assert "120 groups keep the subset" in caplog.text


def test_films_that_join_groups_of_several_subsets_are_counted_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = grown(tmp_path)
    table = read_records(tmp_path / "records.csv")
    subset = table["pixel_sha256"].map(pd.read_csv(kept).set_index("pixel_sha256")["subset"])
    joined = [table.index[subset == name][0] for name in ("train", "val", "test")]
    table.loc[joined, "group"] = table.loc[joined[0], "group"]
    write_records(table, tmp_path / "records.csv")
    with caplog.at_level(logging.WARNING):
        assert run(tmp_path, kept) == 0
    split = read_split(tmp_path / "split.csv")
    assert split.loc[joined, "subset"].tolist() == ["test"] * 3
    facts = json.loads((tmp_path / "split.json").read_text())["kept"]
    assert facts["moved_images"] == {"train_to_val": 0, "train_to_test": 1, "val_to_test": 1}
    assert "1 groups join images of several of its subsets" in caplog.text
    assert "train to test 1" in caplog.text


@pytest.mark.parametrize(
    ("text", "protocol", "message"),
    [
        ("record,subset,fold,group\n0,train,0,0\n", "grouped", "its columns are record, subset"),
        ("pixel_sha256,group,subset\n00,0,tset\n", "grouped", "has a subset 'tset'"),
        ("pixel_sha256,group,subset\n00,x,test\n", "grouped", "is no subsets table"),
        ("pixel_sha256,group,subset\nff,0,test\n", "grouped", "it is of another data set"),
        ("pixel_sha256,group,subset\n", "grouped", "it is of another data set"),
        ("pixel_sha256,group,subset\n00,0,test\n00,0,val\n", "grouped", "in two subsets"),
        (f"pixel_sha256,group,subset\n{0:064},0,test\n", "random", "is for split=grouped"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_and_nothing_is_written(
    project: Path, capsys: pytest.CaptureFixture[str], text: str, protocol: str, message: str
) -> None:
    (project / "kept.csv").write_text(text, encoding="utf-8")
    assert run(project, project / "kept.csv", protocol=protocol) == 1
    said = capsys.readouterr().err
    assert message in said
    assert "kept.csv" in said
    assert not (project / "split.csv").exists()
