"""The whole pipeline of the synthetic sample on a cluster that loses a worker and a node."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from benchmarks.reliability.attempt import Run
from benchmarks.reliability.victim import Clone
from tests.execution import ray_cluster

pytestmark = [
    pytest.mark.slow,
    pytest.mark.cluster,
    pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="ray is not installed"),
]
MEMBERS = {"train.members": 3, "train.members_seeds": 2, "train.epochs": 30}


def prepared(folder: Path, **execution: object) -> Clone:
    """The sample with tiny images and heads, trained at this place of work."""
    clone = Clone(folder)
    settings = {**MEMBERS, **{f"execution.{key}": value for key, value in execution.items()}}
    for key, value in settings.items():
        clone.set(key, value)
    return clone


def test_all_results_are_the_same_though_a_worker_and_a_node_are_killed(tmp_path: Path) -> None:
    here = prepared(tmp_path / "here", processes=2)
    assert here.repro().wait() == 0
    short = Path("/tmp") / f"ray-sample-{os.getpid()}"  # paths of sockets are short
    with ray_cluster.running(short, [{}, {}, {}]) as cluster:
        there = prepared(
            tmp_path / "there", engine="ray", address=cluster.address, trusted_network=True
        )
        secrets = {k: v for k, v in cluster.environment.items() if k.startswith("RAY_")}
        run = Run(there.folder, {**there.environment, **secrets})

        def wait_for_members(count: int) -> None:
            files = there.folder / "checkpoints"
            ray_cluster.waited(lambda: len([*files.rglob("history.json")]) >= count)

        ray_cluster.waited(lambda: "audit" in run.begun)
        ray_cluster.waited(lambda: "train@mobilenet" in run.begun)
        wait_for_members(1)
        cluster.kill("ray::_done")
        wait_for_members(2)
        cluster.kill("raylet", 1)
        assert run.wait() == 0, run.output
    shutil.rmtree(short)
    assert there.results() == here.results()
