"""audit from the command line: outputs, stable bytes, clear failures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from knee.records.records_table import write_records
from stages import audit, split
from tests import shards
from tests.records.tables import SPLIT_FLAGS, records

ROOT = Path(__file__).parents[2]
OUTPUTS = (
    "metrics/audit.json",
    "metrics/shortcuts.json",
    "reports/audit.html",
    "metrics/audit.html",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """60 films of three classes whose brightness tells the class, with their split."""
    table = records([n % 3 for n in range(60)], list(range(60)))
    write_records(table, tmp_path / "records.csv")
    noise = np.random.default_rng(0).integers(0, 60, (60, 32, 32))
    lit = noise + 60 * (np.arange(60) % 3)[:, np.newaxis, np.newaxis]
    shards.save(tmp_path / "pixels", lit.astype(np.uint8))
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    values["audit"] |= {"permutations": 19, "repeats": 1, "alarm_level": 0.05}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    flags = command(tmp_path, *SPLIT_FLAGS)
    assert split.main(flags) == 0
    return tmp_path


def command(folder: Path, *flags: str) -> list[str]:
    words = ["--params", str(folder / "params.yaml"), "--records", str(folder / "records.csv")]
    for flag in flags:
        name, file = flag.split("=")
        words += [f"--{name}", str(folder / file)]
    return words


def flags(folder: Path) -> list[str]:
    names = ("audit-out", "shortcuts-out", "report-out", "public-report-out")
    outputs = [f"{name}={file}" for name, file in zip(names, OUTPUTS, strict=True)]
    return command(folder, "pixels=pixels", "split=split.csv", *outputs)


def test_the_audit_writes_figures_and_two_reports_with_stable_bytes(project: Path) -> None:
    assert audit.main(flags(project)) == 0
    first = [(project / name).read_bytes() for name in OUTPUTS]
    assert audit.main(flags(project)) == 0
    assert [(project / name).read_bytes() for name in OUTPUTS] == first
    facts = json.loads(first[0])
    assert (facts["records"], facts["rejected"], facts["distinct_files"]) == (60, 0, 60)
    assert (facts["groups"], facts["conflicting_groups"]) == (60, 0)
    assert facts["leakage"] == {"random": 0.0, "in_use": 0.0}
    assert facts["synthetic"] is True
    details = json.loads(first[1])
    assert details["alarms"] == ["border", "nearest_neighbour"]
    for name in ("majority", "metadata", "border", "nearest_neighbour"):
        figures = details["shortcuts"][name]
        assert facts["shortcuts"][name]["accuracy"] == figures["accuracy"]
        for metric in ("accuracy", "balanced_accuracy", "macro_f1"):
            assert 0 <= figures[metric] <= 1
            assert set(figures["confidence_interval"][metric]) == {"low", "high"}
            assert 0 <= figures["test"][metric] <= 1
        assert 0 < figures["p_value"] <= 1


def test_only_the_report_that_stays_has_file_names(project: Path) -> None:
    assert audit.main(flags(project)) == 0
    texts = [(project / name).read_text(encoding="utf-8") for name in OUTPUTS]
    assert [".png" in text for text in texts] == [False, False, True, False]


@pytest.mark.parametrize("name", ["records.csv", "pixels/00000.npy", "split.csv"])
def test_a_missing_input_is_one_message_that_names_it(
    project: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / name).unlink()
    assert audit.main(flags(project)) == 1
    message = capsys.readouterr().err
    assert name in message
    assert "stage" in message or "run `dvc repro`" in message
    assert message.startswith("audit: ")
    assert not (project / OUTPUTS[0]).exists()


def test_a_split_of_other_records_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (project / "split.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (project / "split.csv").write_text("".join(lines[:-1]), encoding="utf-8")
    assert audit.main(flags(project)) == 1
    assert "run the split stage" in capsys.readouterr().err
