"""The place that the parameters name: opened when asked for, refused where it is not safe."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import pytest
import yaml

from knee.execution import same_bits
from knee.execution.local import Inline
from knee.execution.opening import Opened
from knee.execution.place import ExecutionError
from knee.run import parameters

ROOT = Path(__file__).parents[2]
LOCAL = parameters.load(ROOT / "params.yaml").execution
RAY = dataclasses.replace(LOCAL, engine="ray", address="127.0.0.1:1")
needs_ray = pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="ray is not installed")


def trial() -> str:
    return "bits"


def test_this_machine_is_the_place_by_default() -> None:
    with Opened(LOCAL, trial) as place_of:
        assert isinstance(place_of(), Inline)
        assert place_of() is place_of()


def test_nothing_is_connected_to_before_there_is_work() -> None:
    with Opened(RAY, trial):
        pass


@pytest.mark.skipif(bool(importlib.util.find_spec("ray")), reason="ray is installed")
def test_without_ray_one_line_says_how_to_install_it() -> None:
    with Opened(RAY, trial) as place_of, pytest.raises(ExecutionError, match="make CLUSTER=1"):
        place_of()


@needs_ray
def test_a_cluster_without_token_tls_or_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    with Opened(RAY, trial) as place_of:
        with pytest.raises(ExecutionError, match="RAY_AUTH_MODE=token"):
            place_of()
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        with pytest.raises(ExecutionError, match="trusted_network"):
            place_of()
        monkeypatch.setenv("RAY_USE_TLS", "1")
        with pytest.raises(ExecutionError, match=r"no cluster answers at 127\.0\.0\.1:1 "):
            place_of()


def test_no_stage_depends_on_where_it_is_computed() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for stage in stages.values():
        params = stage.get("do", stage).get("params", [])
        assert not [one for one in params if str(one).startswith("execution")]


def test_a_machine_of_other_versions_or_bits_is_told_apart() -> None:
    ours = same_bits.Facts({"numpy": "2", "python": "3.11"}, "a")
    assert same_bits.difference(ours, ours) == ""
    other = same_bits.Facts({"numpy": "1", "python": "3.11"}, "a")
    assert same_bits.difference(ours, other) == "numpy 1 and not 2"
    assert "processor" in same_bits.difference(ours, dataclasses.replace(ours, trial="b"))
