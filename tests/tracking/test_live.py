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


def test_runs_of_dead_processes_are_closed_and_others_left() -> None:
    client = store.connect()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    parent = os.getppid()
    cases = {
        "dead": {"host": socket.gethostname(), "pid": str(dead.pid), "process_started": "1.00"},
        "reused": {"host": socket.gethostname(), "pid": str(parent), "process_started": "1.00"},
        "alive": {
            "host": socket.gethostname(),
            "pid": str(parent),
            "process_started": f"{live.process_start(parent):.2f}",
        },
        "elsewhere": {"host": "another-machine", "pid": str(dead.pid)},
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
