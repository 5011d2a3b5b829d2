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
POINTS = {  # kilobytes that are left for what a stage writes
    "evaluate@mobilenet": 400,
    "train@mobilenet": 4 * 1024,
    "sample@sample": 400,
}


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
    small_disk: Path, finished: Project
) -> None:
    project = copied(finished, small_disk / "project")
    for target, kilobytes in POINTS.items():
        project.forget(target)
        ballast = leave(small_disk, kilobytes)
        code, output = project.attempt("repro", "--force", "--single-item", target)
        ballast.unlink()
        assert code != 0
        stage = target.split("@")[0]
        said = [line for line in output.splitlines() if line.startswith(f"{stage}: ")]
        assert len(said) == 1, output
        assert "No space left on device" in said[0]
        assert "Traceback" not in output
        left = [path for path in project.folder.rglob(".*.staged*") if ".dvc" not in path.parts]
        assert left == []
    ran = project.dvc("repro", "evaluate@mobilenet")
    assert all(f"Running stage '{target}'" in ran for target in POINTS)
    assert project.figures() == finished.figures()
    assert {status for status, _ in project.runs()} <= {"FINISHED", "FAILED"}
    executions = [execution for _, execution in project.runs()]
    assert len(executions) == len(set(executions))
