"""A real queue whose worker is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from knee.health.locks import check_queue
from knee.health.processes import alive
from knee.health.project import open_project

pytestmark = pytest.mark.slow
PIPELINE = """
stages:
  wait:
    cmd: sleep ${seconds} && echo done > done.txt
    params: [seconds]
    outs: [done.txt]
"""


def test_a_killed_workers_task_is_found_and_marked_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site_cache"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    (root / "params.yaml").write_text("seconds: 1\n")
    (root / "dvc.yaml").write_text(PIPELINE)
    run("git", "init", "-q")
    run("dvc", "init", "-q")
    run("git", "add", "-A")
    run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "start")
    run("dvc", "exp", "run", "-q", "--queue", "-S", "seconds=60")
    run("dvc", "queue", "start", "-q")
    pids = started(root / ".dvc" / "tmp" / "exps")
    try:
        project = open_project(root)
        assert check_queue(project, mend=False).status == "ok"
    finally:
        for group in {os.getpgid(pid) for pid in pids}:
            os.killpg(group, signal.SIGKILL)
    while any(alive(pid) for pid in pids):
        time.sleep(0.05)
    found = check_queue(project, mend=False)
    assert found.status == "fault"
    assert len(found.names) == 1
    assert check_queue(project, mend=True).status == "mended"
    status = run("dvc", "queue", "status")
    assert "Failed" in status
    assert "Running" not in status
    assert check_queue(open_project(root), mend=False).status == "ok"


def run(*command: str) -> str:
    """What a command prints, through a file: a worker that it starts would keep a pipe open."""
    with tempfile.TemporaryFile("w+") as said:
        done = subprocess.run(command, stdout=said, stderr=said, check=False, timeout=60)
        said.seek(0)
        text = said.read()
    assert done.returncode == 0, text
    return text


def started(folder: Path) -> list[int]:
    """The worker and the experiment, once both are there."""
    for _ in range(600):
        files = [*folder.glob("celery/dvc-exp-worker-*.json"), *folder.glob("run/*/*.json")]
        if len(files) == 2:
            return [int(json.loads(file.read_text())["pid"]) for file in files]
        time.sleep(0.1)
    raise AssertionError("the queue did not start")
