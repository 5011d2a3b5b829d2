"""validate_split from the command line: figures, report, failures that stop the pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from knee.records.records_table import write_records
from stages import split, validate_split
from tests.records.tables import SPLIT_FLAGS, records

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Records of 120 films, two a picture, and parameters."""
    pictures = [n // 2 for n in range(120)]
    write_records(records([n % 3 for n in pictures], pictures, pictures), tmp_path / "records.csv")
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return tmp_path


def use(folder: Path, section: str, **changed: object) -> None:
    values = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    values[section] |= changed
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


def command(folder: Path, *flags: str) -> list[str]:
    words = ["--params", str(folder / "params.yaml"), "--records", str(folder / "records.csv")]
    for flag in flags:
        name, file = flag.split("=")
        words += [f"--{name}", str(folder / file)]
    return words


def make_split(folder: Path) -> None:
    assert split.main(command(folder, *SPLIT_FLAGS)) == 0


def check(folder: Path) -> int:
    flags = ("split=split.csv", "metrics-out=validation.json", "docs-out=docs")
    return validate_split.main(command(folder, *flags))


def test_a_good_split_has_figures_of_stable_bytes_and_a_report(project: Path) -> None:
    make_split(project)
    assert check(project) == 0
    first = (project / "validation.json").read_bytes()
    assert check(project) == 0
    assert (project / "validation.json").read_bytes() == first
    facts = json.loads(first)
    assert facts["success"] is True
    assert facts["leaky"] is False
    assert facts["train"] + facts["val"] + facts["test"] == facts["unused"] == 60
    assert facts["not_asked"] == []
    page = (project / "docs" / "index.html").read_text(encoding="utf-8")
    assert "no group is in two subsets" in page
    assert ">FAILED<" not in page


def test_a_group_on_both_sides_stops_the_pipeline_and_is_named(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_split(project)
    lines = (project / "split.csv").read_text(encoding="utf-8").splitlines()
    row = next(number for number, line in enumerate(lines) if ",train," in line)
    assert ",unused," in lines[row + 1]
    lines[row + 1] = lines[row + 1].replace(",unused,-1,", ",test,0,")
    (project / "split.csv").write_text("\n".join([*lines, ""]), encoding="utf-8")
    assert check(project) == 1
    complaint = capsys.readouterr().err
    assert "nothing downstream is run" in complaint
    assert "not true: no group is in two subsets (for example group" in complaint
    assert f"record {row - 1} (class" in complaint
    facts = json.loads((project / "validation.json").read_text(encoding="utf-8"))
    assert facts["success"] is False
    assert facts["expectations"]["failed"] == len(facts["failed"]) > 0


def test_a_random_split_passes_labelled_leaky(project: Path) -> None:
    use(project, "split", protocol="random")
    make_split(project)
    assert check(project) == 0
    facts = json.loads((project / "validation.json").read_text(encoding="utf-8"))
    assert (facts["success"], facts["leaky"]) == (True, True)
    assert "no group is in two subsets" in facts["not_asked"]


def test_thresholds_come_from_the_parameters(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_split(project)
    use(project, "validate", minimum_subset_images_per_class=1000)
    assert check(project) == 1
    assert "each class has at least 1000 records in each subset" in capsys.readouterr().err


def test_a_missing_split_is_a_clear_error(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(project) == 1
    assert "split.csv does not exist: run the split stage" in capsys.readouterr().err
