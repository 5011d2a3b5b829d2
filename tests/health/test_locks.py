"""Locks whose process has ended, and tasks whose worker has."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from knee.health import locks
from knee.health.project import Project


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def info(pid: int) -> dict[str, Any]:
    return {"pid": pid, "cmd": "dvc repro"}


def write_guard(project: Project, read: dict[str, Any], write: dict[str, Any]) -> Path:
    guard = project.temporary / "rwlock"
    guard.write_text(json.dumps({"read": read, "write": write}))
    return guard


def test_a_project_at_rest_has_no_lock(project: Project) -> None:
    found = locks.check_locks(project, mend=False)
    assert (found.status, found.found) == ("ok", "none is held")


def test_entries_of_dead_processes_are_named_and_taken_away(project: Project) -> None:
    dead, parent = dead_process(), os.getppid()
    guard = write_guard(
        project, {"a": [info(dead), info(parent)], "b": [info(dead)]}, {"c": info(dead)}
    )
    found = locks.check_locks(project, mend=False)
    assert found.status == "fault"
    assert found.names == (f".dvc/tmp/rwlock: process {dead}",)
    assert locks.check_locks(project, mend=True).status == "mended"
    left = json.loads(guard.read_text())
    assert left == {"read": {"a": [info(parent)]}, "write": {}}
    again = locks.check_locks(project, mend=False)
    assert again.status == "ok"
    assert f"process {parent}" in again.found


def test_a_number_that_another_process_has_now_is_stale(project: Project) -> None:
    guard = write_guard(project, {}, {"c": info(os.getpid())})
    assert locks.check_locks(project, mend=False).status == "ok"
    os.utime(guard, (1, 1))  # written long before this process began
    assert locks.check_locks(project, mend=False).status == "fault"


@pytest.mark.parametrize("content", ["", '{"read": ', "[]", '{"read": 1}'])
def test_a_damaged_list_stops_dvc_and_is_taken_away(project: Project, content: str) -> None:
    (project.temporary / "rwlock").write_text(content)
    found = locks.check_locks(project, mend=False)
    assert (found.status, found.names) == ("fault", (".dvc/tmp/rwlock: not readable",))
    assert locks.check_locks(project, mend=True).status == "mended"
    assert project.repository.reproduce() == []


def test_lock_files_that_nobody_holds_are_harmless(project: Project) -> None:
    (project.temporary / "lock").write_text(str(dead_process()))
    (project.temporary / "stages").mkdir()
    (project.temporary / "stages" / "train.lock").touch()
    assert locks.check_locks(project, mend=False).found == "none is held"
    assert project.at_work() == ""


def test_a_lock_that_is_held_names_who_holds_it(project: Project) -> None:
    file = project.temporary / "stages" / "train.lock"
    file.parent.mkdir()
    with file.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        held = project.at_work()
        assert "holds .dvc/tmp/stages/train.lock" in held
        found = locks.check_locks(project, mend=False)
        assert (found.status, found.found) == ("ok", held)
    assert project.at_work() == ""


def test_a_hard_link_lock_outlives_its_process(project: Project) -> None:
    project.repository.config["core"]["hardlink_lock"] = True
    file = project.temporary / "lock"
    file.write_text(str(project.temporary / "0123.lock"))
    assert locks.check_locks(project, mend=False).status == "fault"
    assert locks.check_locks(project, mend=True).status == "mended"
    assert not file.exists()


class Entry:
    def __init__(self, name: str) -> None:
        self.name, self.stash_rev = name, name * 8


class Queue:
    """DVC's queue, as far as the check asks it."""

    def __init__(self, folder: Path, processes: dict[str, Any]) -> None:
        self.entries = [Entry(name) for name in processes]
        self.pid_dir = str(folder)
        self.proc = {entry.stash_rev: processes[entry.name] for entry in self.entries}
        self.killed: list[str] = []

    def iter_active(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.name not in self.killed]

    def kill(self, names: list[str], *, force: bool) -> None:
        assert force
        self.killed += names


class Process:
    def __init__(self, pid: int, returncode: int | None = None) -> None:
        self.pid, self.returncode = pid, returncode


def test_tasks_without_a_process_are_named_and_marked(project: Project, tmp_path: Path) -> None:
    (project.temporary / "exps" / "celery").mkdir(parents=True)
    queue = Queue(
        tmp_path,
        {
            "alive": Process(os.getpid()),
            "dead": Process(dead_process()),
            "ended": Process(os.getpid(), returncode=0),
            "unborn": None,
        },
    )
    vars(project.repository)["experiments"] = Experiments(queue)
    found = locks.check_queue(project, mend=False)
    assert (found.status, found.names) == ("fault", ("dead", "ended", "unborn"))
    assert queue.killed == []
    assert locks.check_queue(project, mend=True).status == "mended"
    assert queue.killed == ["dead", "ended", "unborn"]
    assert locks.check_queue(project, mend=False).status == "ok"


class Experiments:
    def __init__(self, queue: Queue) -> None:
        self.celery_queue = queue


def test_a_living_worker_has_a_minute_to_put_a_task_away(project: Project, tmp_path: Path) -> None:
    workers = project.temporary / "exps" / "celery"
    workers.mkdir(parents=True)
    (workers / "dvc-exp-worker-1.json").write_text(json.dumps({"pid": os.getpid()}))
    queue = Queue(tmp_path, {"ended": Process(os.getpid(), returncode=0)})
    vars(project.repository)["experiments"] = Experiments(queue)
    record = tmp_path / queue.entries[0].stash_rev / f"{queue.entries[0].stash_rev}.json"
    record.parent.mkdir()
    record.touch()
    assert locks.check_queue(project, mend=False).status == "ok"
    os.utime(record, (time.time() - 100,) * 2)
    assert locks.check_queue(project, mend=False).status == "fault"
    queue.proc.clear()  # it copies the project, before the experiment has a process
    queue.proc[queue.entries[0].stash_rev] = None
    assert locks.check_queue(project, mend=False).status == "ok"


def test_without_a_queue_there_is_nothing_to_do(project: Project) -> None:
    assert locks.check_queue(project, mend=True).found == "none"
