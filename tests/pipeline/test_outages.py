"""Full disks, two pipelines at once, and a queue whose worker is killed, on the tiny project."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from tests.project import Project

pytestmark = [pytest.mark.tf, pytest.mark.slow]
FIGURES = ("metrics/mobilenet/test.json", "metrics/mobilenet/history.csv", "data/records.csv")
MEGABYTE = 2**20


def figures(project: Project) -> list[bytes]:
    return [(project.folder / name).read_bytes() for name in FIGURES]


def runs(project: Project) -> list[tuple[str, str]]:
    """Status and execution of each MLflow run."""
    query = (
        "select status, value from runs join tags on tags.run_uuid = runs.run_uuid "
        "where key = 'execution' and lifecycle_stage = 'active'"
    )
    with contextlib.closing(sqlite3.connect(project.folder / "mlflow.db")) as store:
        return list(store.execute(query))


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Figures of a run that nothing disturbed."""
    project = Project(tmp_path_factory.mktemp("undisturbed"))
    project.experiment()
    return figures(project)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own in memory, which may be filled."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600m", "tmpfs", str(disk)]
    if sys.platform != "linux" or subprocess.run(mount, check=False).returncode:
        pytest.skip("a small disk needs the right to mount one")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def leave(disk: Path, kilobytes: int) -> Path:
    """Fill `disk` up to that; the file that does it."""
    ballast = disk / "ballast"
    room = os.statvfs(disk)
    size = room.f_bavail * room.f_frsize - kilobytes * 1024
    with ballast.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, size)
    return ballast


def test_a_disk_that_is_full_at_three_points_costs_time_alone(
    small_disk: Path, expected: list[bytes]
) -> None:
    project = Project(small_disk / "project")
    project.parameters()
    points = (
        ("sample@sample", 700, "sample"),
        ("train@mobilenet", 4 * 1024, "train"),
        ("evaluate@mobilenet", 6 * 1024, "evaluate"),
    )
    for target, kilobytes, stage in points:
        if stage != "sample":
            project.dvc("repro", *upstream(target))
        ballast = leave(small_disk, kilobytes)
        code, output = project.attempt("repro", "--single-item", target)
        assert code != 0
        said = [line for line in output.splitlines() if line.startswith(f"{stage}: ")]
        assert len(said) == 1, output
        assert "No space left on device" in said[0]
        assert "Traceback" not in output
        left = [path for path in project.folder.rglob(".*.staged*") if ".dvc" not in path.parts]
        assert left == []
        ballast.unlink()
    project.dvc("repro")
    assert figures(project) == expected
    assert {status for status, _ in runs(project)} <= {"FINISHED", "FAILED"}
    executions = [execution for _, execution in runs(project)]
    assert len(executions) == len(set(executions))


def upstream(target: str) -> list[str]:
    """What has to be there before `target`."""
    return {
        "train@mobilenet": ["oversample", "embed@mobilenet"],
        "evaluate@mobilenet": ["train@mobilenet"],
    }[target]


def test_of_two_pipelines_at_once_one_stops_at_once_and_the_other_is_right(
    tmp_path: Path, expected: list[bytes]
) -> None:
    project = Project(tmp_path)
    project.parameters()
    first = project.start("repro")
    wait_for_stage(first)
    started = time.monotonic()
    code, output = project.attempt("repro")
    assert code != 0
    assert time.monotonic() - started < 60
    assert "busy" in output or "lock" in output
    assert first.wait() == 0
    assert figures(project) == expected
    assert "Running stage" not in project.dvc("repro")
    assert [status for status, _ in runs(project)] == ["FINISHED"]


def wait_for_stage(dvc: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not psutil.Process(dvc.pid).children():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_queue_loses_only_the_experiment_whose_worker_is_killed(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.experiment()  # what the queued ones have in common is then restored
    for rate in (0.002, 0.003, 0.004, 0.005):
        project.experiment(f"train.learning_rate={rate}", where="--queue")
    assert project.start("queue", "start", "-j", "2").wait() == 0  # workers keep pipes open
    lost = kill_the_worker_of_a_training(project)
    wait_for_queue(project, finished=3)
    project.dvc("queue", "stop", "--kill")
    project.dvc("queue", "remove", "--all")
    project.experiment(f"train.learning_rate={lost}")
    assert "Running stage" not in project.dvc("repro")
    assert "RUNNING" not in [status for status, _ in runs(project)]
    assert [status for status, _ in runs(project)].count("FINISHED") >= 5
    executions = [execution for _, execution in runs(project)]
    assert len(executions) == len(set(executions))


def kill_the_worker_of_a_training(project: Project) -> float:
    """Kill -9 the queue's worker that has the first training seen; that training's rate."""
    copies = project.folder / ".dvc" / "tmp" / "exps"
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                copy = Path(process.cwd())
                if "stages.train" in process.cmdline() and copies in copy.parents:
                    os.kill(process.parents()[1].pid, signal.SIGKILL)
                    values = yaml.safe_load((copy / "params.yaml").read_text(encoding="utf-8"))
                    return float(values["train"]["learning_rate"])
        time.sleep(0.1)
    raise AssertionError("no training was seen")


def wait_for_queue(project: Project, finished: int) -> None:
    deadline = time.monotonic() + 1200
    while project.dvc("queue", "status").count("Success") < finished:
        assert time.monotonic() < deadline, project.dvc("queue", "status")
        time.sleep(3)
