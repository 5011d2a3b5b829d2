"""Processes of a group: all begin, all end, and one that is missing or lost is named."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import psutil
import pytest

from knee.execution import worker_group
from knee.execution.place import ExecutionError, WorkerLost
from knee.execution.worker_group import WorkerGroup
from knee.run import parameters

ROOT = Path(__file__).parents[2]
MODULE = "tests.execution.counting_worker"
SSH = """#!/bin/sh
# ssh -o BatchMode=yes HOST COMMAND, to this machine
echo "$3" >>"{folder}/ssh"
exec sh -c "$4"
"""
SRUN = """#!/bin/sh
# srun --ntasks=N ... COMMAND, on this machine; the first words are options
count=${1#--ntasks=}
while expr "$1" : -- >/dev/null; do shift; done
exec 3<&0 # what runs in the background has an empty input otherwise
for rank in $(seq 0 $((count - 1))); do SLURM_PROCID=$rank SLURMD_NODENAME=127.0.0.1 "$@" <&3 & done
wait
"""
SILENT = "#!/bin/sh\nexec sleep 60\n"


def settings(**changes: Any) -> parameters.Execution:
    values: dict[str, Any] = {
        "engine": "local",
        "address": "auto",
        "processes": 0,
        "cpus": 1,
        "gpus": 0,
        "files": "sent",
        "retries": 0,
        "start_seconds": 600,
        "trusted_network": True,
        "launcher": "local",
        "hosts": (),
    }
    return parameters.Execution(**{**values, **changes})


def stand_in(name: str, text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command `name` for the processes that are started from now on."""
    commands = folder / "commands"
    commands.mkdir()
    (commands / name).write_text(text.replace("{folder}", str(folder)), encoding="utf-8")
    (commands / name).chmod(0o700)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")


def an_hour_passes_after(event: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the group, not for its workers: a busy machine may start them late."""
    clock = types.SimpleNamespace(
        monotonic=lambda: time.monotonic() + 3600 * event.exists(), sleep=time.sleep
    )
    monkeypatch.setattr(worker_group, "time", clock)


def run_until_all_met(group: WorkerGroup, folder: Path) -> list[str]:
    """The addresses that the workers have seen; all have seen the same."""
    made = folder / "run"
    made.mkdir()
    files = [made / f"met-{number}" for number in range(group.count)]
    group.run(MODULE, made, lambda: all(file.exists() and file.stat().st_size for file in files))
    seen = {file.read_text(encoding="utf-8") for file in files}
    assert len(seen) == 1
    return seen.pop().split()


def workers_of(folder: Path) -> list[int]:
    """Processes of a group that are still there."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if str(folder) in " ".join(process.info["cmdline"] or ()) and process.pid != os.getpid()
    ]


def gone(folder: Path) -> bool:
    """Whether all processes of a group end within ten seconds."""
    for _ in range(100):
        if not workers_of(folder):
            return True
        time.sleep(0.1)
    return False


def test_workers_of_this_machine_meet_and_end_with_the_run(tmp_path: Path) -> None:
    addresses = run_until_all_met(WorkerGroup(settings(), 3), tmp_path)
    assert len(addresses) == len(set(addresses)) == 3
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+", address) for address in addresses)
    assert gone(tmp_path)


def test_by_ssh_all_but_the_first_are_started_on_their_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in("ssh", SSH, tmp_path, monkeypatch)
    hosts = ("127.0.0.1", "127.0.0.2")
    addresses = run_until_all_met(WorkerGroup(settings(launcher="ssh", hosts=hosts), 2), tmp_path)
    assert [address.rpartition(":")[0] for address in addresses] == [*hosts]
    assert (tmp_path / "ssh").read_text(encoding="utf-8") == "127.0.0.2\n"
    assert gone(tmp_path)


def test_slurm_tells_its_tasks_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in("srun", SRUN, tmp_path, monkeypatch)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    assert len(run_until_all_met(WorkerGroup(settings(launcher="srun"), 2), tmp_path)) == 2
    assert gone(tmp_path)


def test_a_launcher_that_is_not_here_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExecutionError, match=r"execution\.launcher: there is no command srun"):
        WorkerGroup(settings(launcher="srun"), 2).run(MODULE, tmp_path, lambda: False)


def test_a_worker_that_never_comes_is_named_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in("ssh", SILENT, tmp_path, monkeypatch)
    chosen = settings(launcher="ssh", hosts=("127.0.0.1", "127.0.0.2"))
    an_hour_passes_after(tmp_path / "run" / "address-0", monkeypatch)
    with pytest.raises(
        ExecutionError,
        match=r"^worker 2 \(127\.0\.0\.2\) did not come within 600 s \(execution\.start_seconds\)",
    ):
        run_until_all_met(WorkerGroup(chosen, 2), tmp_path)
    assert gone(tmp_path)


def test_workers_that_do_not_reach_each_other_are_ended_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KNEE_TEST_WORKER", "holds")
    an_hour_passes_after(tmp_path / "run" / "holding-1", monkeypatch)
    with pytest.raises(ExecutionError, match="all 2 workers came, but did not reach each other"):
        run_until_all_met(WorkerGroup(settings(), 2), tmp_path)
    assert gone(tmp_path)


def test_a_worker_that_waits_in_a_library_does_not_outlive_who_began_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KNEE_TEST_WORKER", "holds")
    command = [sys.executable, "-m", MODULE, str(tmp_path), "1", "1", "0", "127.0.0.1"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as worker:
        assert worker.stdin
        worker.stdin.close()
        assert worker.wait(60) == 1


def test_a_worker_that_dies_ends_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KNEE_TEST_WORKER", "dies")
    with pytest.raises(WorkerLost, match=r"^worker 2 \(127\.0\.0\.1\): SIGABRT$"):
        WorkerGroup(settings(), 2).run(MODULE, tmp_path, lambda: False)
    assert gone(tmp_path)


def test_a_worker_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNEE_TEST_WORKER", "fails")
    with pytest.raises(ExecutionError, match=r"^worker 2 \(127\.0\.0\.1\): no film 7 \("):
        WorkerGroup(settings(), 2).run(MODULE, tmp_path, lambda: False)
    assert gone(tmp_path)


STARTER = """
import sys
from pathlib import Path
from knee.execution.worker_group import WorkerGroup
from tests.execution.test_worker_group import MODULE, settings
WorkerGroup(settings(), 2).run(MODULE, Path(sys.argv[1]), lambda: False)
"""


def test_workers_end_when_who_began_them_is_killed(tmp_path: Path) -> None:
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(tmp_path)], cwd=ROOT)
    for _ in range(300):
        if (tmp_path / "met-1").exists():
            break
        time.sleep(0.1)
    assert len(workers_of(tmp_path)) == 3
    starter.kill()
    starter.wait()
    assert gone(tmp_path)
