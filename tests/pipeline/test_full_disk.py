"""A disk that is full while a stage of the tiny pipeline writes its outputs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project import Project, copied

pytestmark = [pytest.mark.tf, pytest.mark.slow]
WITH_DVC = ("sample@sample", 400)  # kilobytes that are left for what the stage writes
WITHOUT_DVC = ("train@mobilenet", 4 * 1024)
PROGRAM = """
import os, sys
from pathlib import Path
os.environ["DVC_ROOT"] = os.getcwd()  # as DVC sets it
from dvc.repo import Repo
from benchmarks.reliability.in_one_process import run
from tests.pipeline.test_full_disk import WITHOUT_DVC, half_written, leave
target, kilobytes = WITHOUT_DVC
with Repo() as repository:
    (stage,) = repository.stage.collect(target)
    for out in stage.outs:  # as DVC does before it runs a stage
        out.remove()
    ballast = leave(Path(sys.argv[1]), kilobytes)
    assert run(stage.cmd) == 1
    ballast.unlink()
    assert half_written(Path.cwd()) == []
    assert run(stage.cmd) == 0
"""


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


def test_a_disk_that_is_full_at_two_points_costs_time_alone(
    small_disk: Path, finished: Project
) -> None:
    project = copied(finished, small_disk / "project")
    target, kilobytes = WITH_DVC
    project.forget(target)
    ballast = leave(small_disk, kilobytes)
    code, output = project.attempt("repro", "--force", "--single-item", target)
    ballast.unlink()
    assert code != 0
    assert half_written(project.folder) == []
    check(target, output)
    assert f"Running stage '{target}'" in project.dvc("repro", target)
    output = project.python(PROGRAM, str(small_disk))
    check(WITHOUT_DVC[0], output)
    assert project.figures() == finished.figures()
    assert {status for status, _ in project.runs()} <= {"FINISHED", "FAILED"}
    executions = [execution for _, execution in project.runs()]
    assert len(executions) == len(set(executions))


def half_written(project: Path) -> list[Path]:
    """What stages have left beside their outputs."""
    return [path for path in project.rglob(".*.staged*") if ".dvc" not in path.parts]


def check(target: str, output: str) -> None:
    """One line says why the stage ended."""
    stage = target.split("@")[0]
    said = [line for line in output.splitlines() if line.startswith(f"{stage}: ")]
    assert len(said) == 1, output
    assert "No space left on device" in said[0]
    assert "Traceback" not in output
