"""validate, split and oversample from the command line: outputs, stable bytes, clear failures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from knee.records.records_table import write_records
from stages import oversample, split, validate
from tests.records.tables import SPLIT_FLAGS, records

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with records of 60 films, the last one rejected, and parameters."""
    statuses = ["used"] * 59 + ["rejected"]
    table = records([n % 3 for n in range(60)], list(range(60)), statuses=statuses)
    table.loc[59, ["picture", "group"]] = -1
    write_records(table, tmp_path / "records.csv")
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return tmp_path


def command(folder: Path, *flags: str) -> list[str]:
    """Flags with their files put into `folder`."""
    words = ["--params", str(folder / "params.yaml"), "--records", str(folder / "records.csv")]
    for flag in flags:
        name, file = flag.split("=")
        words += [f"--{name}", str(folder / file)]
    return words


def set_parameter(folder: Path, section: str, **changed: object) -> None:
    values = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    values[section] |= changed
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


def test_validation_writes_figures_and_a_report(project: Path) -> None:
    flags = command(project, "metrics-out=validation.json", "docs-out=docs")
    assert validate.main(flags) == 0
    first = (project / "validation.json").read_bytes()
    facts = json.loads(first)
    assert facts["success"] is True
    assert facts["synthetic"] is True
    assert (facts["files"], facts["used"], facts["rejected"]) == (60, 59, 1)
    assert (project / "docs" / "index.html").is_file()
    assert validate.main(flags) == 0
    assert (project / "validation.json").read_bytes() == first


def test_failed_validation_says_what_and_where_and_exits_with_1(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_parameter(project, "validate", minimum_images_per_class=20)
    flags = command(project, "metrics-out=validation.json", "docs-out=docs")
    assert validate.main(flags) == 1
    complaint = capsys.readouterr().err
    assert "each class has at least 20 used films" in complaint
    assert "class2: images 19" in complaint
    facts = json.loads((project / "validation.json").read_text())
    assert facts["success"] is False
    assert facts["expectations"]["failed"] == 1
    assert facts["failed"] == [
        {
            "suite": "classes",
            "expectation": "each class has at least 20 used films",
            "examples": ["class2: images 19"],
        }
    ]


def test_more_rejected_files_than_the_configured_share_fail(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_parameter(project, "validate", maximum_rejected_share=0.01)
    flags = command(project, "metrics-out=validation.json", "docs-out=docs")
    assert validate.main(flags) == 1
    assert "at most 0.01 of all files are rejected" in capsys.readouterr().err


def test_the_log_names_rejected_files_and_nothing_of_the_engine(project: Path) -> None:
    flags = command(project, "metrics-out=validation.json", "docs-out=docs")
    done = subprocess.run(
        [sys.executable, "-m", "stages.validate", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    head, rejected, verdict = done.stderr.splitlines()
    assert head.split() == ["set", "aside", "files", "reason", "for", "example"]
    assert rejected.split() == ["rejected", "1", "because", "class2/0059.png"]
    assert verdict.startswith("all ")
    assert done.stdout == ""


@pytest.mark.parametrize("protocol", ["grouped", "random"])
def test_split_and_oversample_write_stable_tables(project: Path, protocol: str) -> None:
    set_parameter(project, "split", protocol=protocol)
    flags = command(project, *SPLIT_FLAGS)
    assert split.main(flags) == 0
    first = (project / "split.csv").read_bytes()
    assert split.main(flags) == 0
    assert (project / "split.csv").read_bytes() == first
    assert json.loads((project / "split.json").read_text())["leaky"] == (protocol == "random")
    flags = command(project, "split=split.csv", "rows-out=rows.csv")
    assert oversample.main(flags) == 0
    rows = pd.read_csv(project / "rows.csv")
    assert rows["class_index"].value_counts().nunique() == 1


def test_too_few_groups_are_a_clear_error(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_parameter(project, "split", folds=30)
    flags = command(project, *SPLIT_FLAGS)
    assert split.main(flags) == 1
    assert "every class needs at least 30 groups" in capsys.readouterr().err
    assert not (project / "split.csv").exists()


@pytest.mark.parametrize(
    ("stage", "flags"),
    [
        (validate, ["metrics-out=x", "docs-out=y"]),
        (split, [*SPLIT_FLAGS]),
        (oversample, ["split=x", "rows-out=y"]),
    ],
)
def test_missing_records_are_a_clear_error(
    project: Path, stage: object, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "records.csv").unlink()
    assert stage.main(command(project, *flags)) == 1  # type: ignore[attr-defined]
    assert "does not exist: run the ingest stage" in capsys.readouterr().err
