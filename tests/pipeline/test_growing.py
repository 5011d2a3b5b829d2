"""New films every month (docs/operations.md): add, rebuild, compare, promote, roll back."""

from __future__ import annotations

import json
import logging
import shlex
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from knee.storage import provenance
from stages import promote, register
from tests.films import CLASSES, png
from tests.planted import PLANTED_FOLDER
from tests.project import Project, ran

pytestmark = [pytest.mark.tf, pytest.mark.slow]
KEPT = "data/kept.csv"


def stand_in_for_training(project: Project) -> None:
    """Files as of a model of the grown data, right about each test image that there was before."""
    path = project.folder / "models" / "mobilenet" / "training.json"
    facts = {**json.loads(path.read_text()), "execution": "grown"}
    path.write_text(json.dumps(provenance.sealed(facts)))
    path = project.folder / "metrics" / "mobilenet" / "predictions.csv"
    now = pd.read_csv(project.folder / "metrics" / "subsets.csv")[["pixel_sha256", "group"]]
    table = pd.read_csv(path).drop(columns="group").merge(now, on="pixel_sha256")
    for name in CLASSES:
        table[f"probability_{name}"] = (table["label"] == name).astype(float)
    table.to_csv(path, index=False)


def test_films_are_added_and_a_better_model_is_promoted_and_rolled_back(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    subsets = project.folder / "metrics" / "subsets.csv"
    before = pd.read_csv(subsets)
    (project.folder / KEPT).write_bytes(subsets.read_bytes())
    films = project.folder / PLANTED_FOLDER
    for number in range(12):
        (films / CLASSES[number % 3] / f"0 new {number}.png").write_bytes(png(1000 + number))
    project.parameters(f"split.keep={KEPT}", "register.minimum_common_groups=5")
    again = ran(project.dvc("repro", "validate_split"))
    assert again == ["ingest", "validate", "split", "validate_split"]
    both = before.merge(pd.read_csv(subsets), on="pixel_sha256")
    assert len(both) == len(before)
    assert both["subset_x"].equals(both["subset_y"])
    facts = json.loads((project.folder / "metrics" / "split.json").read_text())
    assert facts["kept"]["new_groups"] == 12

    stand_in_for_training(project)
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(project.folder)
    stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    words = shlex.split(stages["register"]["cmd"])[3:]
    caplog.set_level(logging.INFO)

    def registered() -> Any:
        assert register.main(words) == 0
        return project.json("reports/registration.json")

    found = registered()
    assert (found["version"], found["alias"]) == ("2", "champion")
    groups = before.loc[before["subset"] == "test", "group"].nunique()
    assert found["reason"].endswith(f"on {groups} common test groups")

    assert promote.main(["--rollback", "--reason", "blind to the new device", "--by", "Ann"]) == 0
    found = registered()
    assert (found["version"], found["alias"]) == ("2", "challenger")
    assert "rolled back by Ann: blind to the new device" in found["reason"]
    assert promote.main(["2", "--reason", "it was the device", "--by", "Bob"]) == 0
    caplog.clear()
    assert promote.main(["--history"]) == 0
    *lines, last = caplog.messages
    terms = [line.split()[1] for line in lines[1:]]
    assert terms == ["1", "2", "1", "2"]
    assert "Ann" in lines[3]
    assert lines[4].endswith("it was the device")
    assert last == "champion: 2"
