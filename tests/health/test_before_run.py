"""What `make repro` tells of params.yaml before it runs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import yaml

from knee.health import before_run
from knee.run import overrides, parameters

ROOT = Path(__file__).parents[2]


def told(params: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> str:
    """What is said of `params`."""
    monkeypatch.chdir(ROOT)
    caplog.set_level("INFO")
    settings = parameters.load(params)
    before_run.check(settings)
    before_run.tell_leftovers(settings, params)
    return caplog.text


def test_what_an_experiment_left_in_the_parameters_is_told_with_the_way_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert "conf/" not in told(ROOT / "params.yaml", monkeypatch, caplog)
    values = json.loads(json.dumps(dataclasses.asdict(parameters.load(ROOT / "params.yaml"))))
    values["train"]["seed"] = 7
    changed = tmp_path / "params.yaml"
    changed.write_text(yaml.safe_dump(values), encoding="utf-8")
    said = told(changed, monkeypatch, caplog)
    assert "train.seed=7" in said
    assert "make params puts it back" in said


def test_a_broken_conf_stops_no_run_of_parameters_that_are_there(tmp_path: Path) -> None:
    settings = parameters.load(ROOT / "params.yaml")
    assert overrides.left_by_experiments(settings, tmp_path / "none") == []
    (tmp_path / "config.yaml").write_text("defaults:\n  - model: nowhere\n", encoding="utf-8")
    assert overrides.left_by_experiments(settings, tmp_path) == []
