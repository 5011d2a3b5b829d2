"""Runs while they are live, and what becomes of those that were killed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from knee.run import termination
from knee.tracking import live, store
from tests.tracking.runs import EXECUTION, live_run, only_run, runs

ROOT = Path(__file__).parents[2]


def test_a_live_run_shows_parameters_epochs_and_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "brisk-lynx")
    with live_run() as run:
        run.log_epoch(0, {"epoch": 0, "loss": 0.9, "val_loss": 0.8})
        assert only_run().info.status == "RUNNING"
    logged = only_run()
    assert logged.info.status == "FINISHED"
    assert logged.info.run_name == "mobilenet brisk-lynx"
    assert logged.data.params["train.epochs"] == "2"
    assert logged.data.params["backbone.weights"] == "w"
    assert logged.data.metrics == {"train/loss": 0.9, "validation/loss": 0.8}
    expected = {
        "execution": EXECUTION,
        "synthetic": "true",
        "leaky": "false",
        "backbone": "mobilenet",
    }
    assert expected.items() <= logged.data.tags.items()
    assert logged.data.tags["pid"] == str(os.getpid())
    assert logged.data.tags["dvc_experiment"] == "brisk-lynx"
    assert logged.inputs.dataset_inputs[0].dataset.digest == "d" * 8


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED"), (termination.Terminated, "KILLED")],
)
def test_a_broken_training_ends_its_run(error: type[BaseException], status: str) -> None:
    with pytest.raises(error), live_run():
        raise error
    assert only_run().info.status == status
    assert only_run().data.tags["end_reason"] == error.__name__


KILLED_WHILE_TRAINING = """
import os, signal, time
from tests.tracking.runs import live_run
before = signal.getsignal(signal.SIGTERM)
try:
    with live_run():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
except SystemExit as ended:
    assert signal.getsignal(signal.SIGTERM) is before
    raise
"""


def test_sigterm_ends_the_run_as_killed_and_the_handler_is_restored() -> None:
    # In a process of its own: engines that other tests load change where signals are handled.
    done = subprocess.run([sys.executable, "-c", KILLED_WHILE_TRAINING], check=False, cwd=ROOT)
    assert done.returncode == 143
    assert only_run().info.status == "KILLED"


def test_a_failing_log_call_never_ends_the_training(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import mlflow

    calls = []

    def fail(*_: Any, **__: Any) -> None:
        calls.append(1)
        raise OSError("database is locked")

    with live_run() as run:
        monkeypatch.setattr(mlflow.MlflowClient, "log_batch", fail)
        run.log_epoch(0, {"loss": 0.9})
        run.log_epoch(1, {"loss": 0.8})
    assert len(calls) == 1  # after the first failure nothing is tried
    assert len([r for r in caplog.records if "database is locked" in r.message]) == 1


def dead_process() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_runs_of_dead_processes_are_closed_and_others_left() -> None:
    client = store.connect()
    dead = dead_process()
    parent = os.getppid()
    cases = {
        "dead": {"host": socket.gethostname(), "pid": str(dead), "process_started": "1.00"},
        "reused": {"host": socket.gethostname(), "pid": str(parent), "process_started": "1.00"},
        "alive": {
            "host": socket.gethostname(),
            "pid": str(parent),
            "process_started": f"{live.process_start(parent):.2f}",
        },
        "elsewhere": {"host": "another-machine", "pid": str(dead)},
    }
    for name, tags in cases.items():
        client.create_run("0", tags=tags, run_name=name)
    assert live.close_stale_runs(store.connect()) == 2
    statuses = {run.info.run_name: run.info.status for run in runs()}
    assert statuses == {
        "dead": "KILLED",
        "reused": "KILLED",
        "alive": "RUNNING",
        "elsewhere": "RUNNING",
    }
    closed = next(run for run in runs() if run.info.run_name == "dead")
    assert "ended without closing" in closed.data.tags["end_reason"]


IN_A_CONTAINER: dict[str, str | None] = {"pid_namespace": "pid:[4026532999]"}
EARLIER_BOOT: dict[str, str | None] = {"boot": "another"}
CLOSED: dict[str, tuple[dict[str, str | None], bool]] = {
    "a dead process here": ({}, True),
    "of a container with this host name": (IN_A_CONTAINER, False),
    "before this machine was started again": (EARLIER_BOOT, True),
    "another machine with this host name": ({**EARLIER_BOOT, "machine": "another"}, False),
    "a machine that does not say which it is": ({**EARLIER_BOOT, "machine": None}, False),
    "a container before the machine was started again": ({**EARLIER_BOOT, **IN_A_CONTAINER}, False),
    "of a version that wrote no boot and namespace": (
        {"boot": None, "pid_namespace": None, "machine": None},
        True,
    ),
}


@pytest.mark.parametrize("case", CLOSED)
def test_only_runs_whose_process_surely_has_ended_are_closed(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {"boot": "this", "pid_namespace": live.FIRST_NAMESPACE, "machine": "m"}
    monkeypatch.setattr(live, "machine", lambda: here)
    changes, closed = CLOSED[case]
    tags: dict[str, str | None] = {"host": socket.gethostname(), "pid": str(dead_process())}
    tags |= {"process_started": "1.00", **here, **changes}
    given = {key: value for key, value in tags.items() if value is not None}
    store.connect().create_run("0", tags=given)
    assert live.close_stale_runs(store.connect()) == closed
    assert only_run().info.status == ("KILLED" if closed else "RUNNING")


def test_a_living_process_of_this_namespace_keeps_its_run() -> None:
    with live_run():
        assert live.stale_runs(store.connect()) == []
        tags = only_run().data.tags
    assert tags["pid_namespace"] == str(Path("/proc/self/ns/pid").readlink())
    assert tags["boot"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert Path("/etc/machine-id").read_text().strip() not in tags.values()


def test_a_second_container_with_the_same_host_name_closes_no_living_run() -> None:
    """A process of another namespace, where the number of the first one means nothing."""
    code = """
from knee.tracking import live, store
print(live.close_stale_runs(store.connect()))
"""
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code]
    with live_run():
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode and "unshare" in done.stderr:
            pytest.skip("no right to make a namespace")
        assert done.stdout.strip() == "0", done.stderr
        assert only_run().info.status == "RUNNING"
