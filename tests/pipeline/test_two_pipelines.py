"""Two `dvc repro` at once in the tiny project."""

from __future__ import annotations

import subprocess
import time

import psutil
import pytest

from tests.project import Project

pytestmark = [pytest.mark.tf, pytest.mark.slow]


def test_of_two_pipelines_at_once_one_stops_at_once_and_the_other_is_right(
    project: Project, finished: Project
) -> None:
    project.forget("ingest")
    first = project.start("repro", "ingest")
    wait_for_stage(first)
    started = time.monotonic()
    code, output = project.attempt("repro")
    assert code != 0
    assert time.monotonic() - started < 60
    assert "busy" in output or "lock" in output
    assert first.wait() == 0
    assert project.figures() == finished.figures()
    assert project.lock() == finished.lock()  # nothing is left to run


def wait_for_stage(dvc: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not psutil.Process(dvc.pid).children():
        assert time.monotonic() < deadline
        time.sleep(0.05)
