"""A stage ends with the dvc that started it, whatever stands between, and cleans up first."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from knee.run import termination

ROOT = Path(__file__).parents[2]
STAGE = """
import os, sys, time
from pathlib import Path
from knee.run import termination
folder = Path(sys.argv[1])
with termination.raised():
    try:
        termination.follow_dvc(folder, folder / "out")
        (folder / "pid").write_text(str(os.getpid()))
        time.sleep(60)
    finally:
        time.sleep(0.3)  # a second signal arrives meanwhile
        (folder / "cleaned").touch()
"""
STARTER = """
import os, subprocess, sys
os.environ["DVC_STAGE"] = "train@mobilenet"
os.environ["PYTHONPATH"] = sys.argv[3]
subprocess.run([*sys.argv[4:], sys.executable, "-c", sys.argv[1], sys.argv[2]])
"""


def wait_for(path: Path) -> str:
    deadline = time.monotonic() + 30
    while not path.exists() or (path.suffix == "" and path.name == "pid" and not path.read_text()):
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)
    return path.read_text()


def start(folder: Path, *between: str) -> tuple[subprocess.Popen[bytes], int]:
    """A process like dvc, which has noted its number, and the number of its stage."""
    command = [sys.executable, "-c", STARTER, STAGE, str(folder), str(ROOT), *between]
    starter = subprocess.Popen(command)
    note(folder, starter.pid)
    return starter, int(wait_for(folder / "pid"))


def note(folder: Path, pid: int) -> None:
    """What dvc writes about a stage that it runs."""
    notes = folder / ".dvc" / "tmp" / "rwlock"
    notes.parent.mkdir(parents=True)
    mine = {"pid": pid, "cmd": "dvc repro"}
    notes.write_text(json.dumps({"write": {str(folder / "out"): mine}, "read": {}}))


@pytest.mark.parametrize(
    "between", [(), ("/bin/sh", "-c", '"$@"', "sh")], ids=["alone", "by a shell"]
)
def test_a_stage_ends_when_the_dvc_that_started_it_is_killed(
    tmp_path: Path, between: tuple[str, ...]
) -> None:
    starter, stage = start(tmp_path, *between)
    starter.kill()
    starter.wait()
    wait_for(tmp_path / "cleaned")
    deadline = time.monotonic() + 10
    while psutil.pid_exists(stage) and psutil.Process(stage).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_is_told_to_end_twice_still_cleans_up(tmp_path: Path) -> None:
    starter, number = start(tmp_path)
    stage = psutil.Process(number)  # whose signals reach nobody else, should it be gone
    stage.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    stage.send_signal(signal.SIGTERM)
    wait_for(tmp_path / "cleaned")
    starter.wait()


def test_a_stage_whose_dvc_ended_while_it_started_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    note(tmp_path, gone.pid)
    monkeypatch.setenv("DVC_STAGE", "split")
    with pytest.raises(termination.OrphanError, match="dvc repro"):
        termination.follow_dvc(tmp_path, tmp_path / "out")


def test_in_a_persons_shell_nothing_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note(tmp_path, 1)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    termination.follow_dvc(tmp_path, tmp_path / "out")


def test_without_a_note_of_dvc_the_stage_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_STAGE", "split")
    termination.follow_dvc(tmp_path, tmp_path / "out")
