"""The split stage: copies go by their names, figures agree with the table, errors are clear."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pandas as pd
import pytest
import yaml

from knee.records.records_table import read_records, write_records
from knee.splits.split_table import read_split
from stages import split
from tests.records.tables import records

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


def run(folder: Path, **changes: object) -> int:
    values = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    values["split"] |= changes
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    files = {
        "params": "params.yaml",
        "records": "records.csv",
        "split-out": "split.csv",
        "metrics-out": "split.json",
    }
    return split.main(
        [word for flag, name in files.items() for word in (f"--{flag}", str(folder / name))]
    )


def test_copies_named_as_derived_yield_to_their_originals(project: Path) -> None:
    assert run(project, protocol="grouped") == 0
    table = read_split(project / "split.csv")
    assert set(table.loc[table["subset"] == "unused", "record"]) == set(range(30))


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
