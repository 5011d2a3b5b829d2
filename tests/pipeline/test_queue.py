"""A queue of experiments on the tiny project, one of whose workers is killed."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import psutil
import pytest
import yaml

from tests.project import Project, ran

pytestmark = [pytest.mark.tf, pytest.mark.slow]
TARGET = "train@mobilenet"
SHORT = ("train.members=1", "train.epochs=2")  # one net, that val chooses


def test_a_queue_loses_only_the_experiment_whose_worker_is_killed(
    project: Project, finished: Project
) -> None:
    """What an experiment in a copy of the project trains is tracked in the project."""
    for rate in (0.002, 0.003):  # what they have in common with the finished one is restored
        project.experiment(*SHORT, f"train.learning_rate={rate}", where="--queue", target=TARGET)
    assert project.start("queue", "start", "-j", "2").wait() == 0  # workers keep pipes open
    lost = kill_the_worker_of_a_training(project)
    wait_for_queue(project, finished=1)
    project.dvc("queue", "stop", "--kill")
    assert finished_runs(project) >= finished_runs(finished) + 1
    assert not list((project.folder / ".dvc" / "tmp" / "exps").rglob("mlflow.db"))
    project.dvc("queue", "remove", "--all")
    project.experiment(*SHORT, f"train.learning_rate={lost}", target=TARGET)
    assert not ran(project.dvc("repro", TARGET))
    statuses = [status for status, _ in project.runs()]
    assert "RUNNING" not in statuses
    assert finished_runs(project) >= finished_runs(finished) + 2
    executions = [execution for _, execution in project.runs()]
    assert len(executions) == len(set(executions))


def finished_runs(project: Project) -> int:
    return [status for status, _ in project.runs()].count("FINISHED")


def kill_the_worker_of_a_training(project: Project) -> float:
    """Kill -9 the queue's worker that has the first training seen; that training's rate."""
    copies = project.folder / ".dvc" / "tmp" / "exps"
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                copy = Path(process.cwd())
                if "stages.train" in process.cmdline() and copies in copy.parents:
                    worker = process.parents()[1]
                    assert any("dvc" in Path(word).name for word in worker.cmdline())
                    worker.kill()
                    values = yaml.safe_load((copy / "params.yaml").read_text(encoding="utf-8"))
                    return float(values["train"]["learning_rate"])
        time.sleep(0.1)
    raise AssertionError("no training was seen")


def wait_for_queue(project: Project, finished: int) -> None:
    """Until no experiment of the queue runs and so many have succeeded."""
    deadline = time.monotonic() + 1200
    while running(project) or project.dvc("queue", "status").count("Success") < finished:
        assert time.monotonic() < deadline, project.dvc("queue", "status")
        time.sleep(0.5)


def running(project: Project) -> bool:
    """Whether an experiment of the queue runs: to ask DVC takes seconds of a processor."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if "exec-run" in words and any(str(project.folder) in word for word in words):
                return True
    return False
