"""A server that does not answer, and its return."""

from __future__ import annotations

import contextlib
import http.client
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from knee import tracking
from knee.tracking import publishing, store
from knee.tracking.__main__ import main
from knee.tracking.evidence import Evidence
from tests.tracking.runs import live_run, only_run, runs, steps, write_project
from tests.tracking.servers import Manner, end, impostor, mlflow_server

DEAD_PID = str(2**22 + 1)  # no system gives a process such a number


@pytest.mark.usefixtures("away")
def test_without_a_server_training_goes_on_and_says_how_its_run_is_written_later(
    evidence: Evidence, caplog: pytest.LogCaptureFixture
) -> None:
    started = time.monotonic()
    with live_run() as run:
        run.log_epoch(0, {"loss": 0.9})
    assert tracking.publish(evidence) is None
    assert publishing.replay() is False
    assert time.monotonic() - started < 15
    assert "`make replay` writes the run" in caplog.text
    assert "secret" not in caplog.text


def test_finished_trainings_are_replayed_once_when_mlflow_is_back(
    away: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(away, "mobilenet", "xception")
    assert main(["replay"]) == 1
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert publishing.missing() == ["of-mobilenet", "of-xception"]
    assert main(["replay"]) == 0
    assert publishing.missing() == []
    first = {run.data.tags["execution"]: run.to_dictionary() for run in runs()}
    assert set(first) == {"of-mobilenet", "of-xception"}
    for run in runs():
        assert run.data.metrics["test/accuracy"] == 0.75
        assert steps(run, "train/loss") == [(0, 0.9), (1, 0.7)]
    assert main(["replay"]) == 0
    assert {run.data.tags["execution"]: run.to_dictionary() for run in runs()} == first


def test_figures_of_an_earlier_model_are_not_replayed(root: Path) -> None:
    write_project(root, "mobilenet", evaluated=False)
    assert publishing.finished() == []
    assert main(["replay"]) == 0
    assert runs() == []


def test_a_project_without_trainings_has_nothing_to_replay(root: Path) -> None:
    assert publishing.missing() == []
    (root / "dvc.lock").write_text("stages: [")
    assert main(["replay"]) == 0
    write_project(root, "mobilenet")
    (root / "dvc.lock").write_text("stages: [")
    assert main(["replay"]) == 1


def test_a_damaged_training_is_named_and_does_not_stop_the_others(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_project(root, "mobilenet", "xception")
    damaged = root / "models" / "mobilenet" / "training.json"
    damaged.write_text("{")
    assert main(["replay"]) == 1
    assert only_run().data.tags["execution"] == "of-xception"
    assert str(damaged) in caplog.text


def test_publishing_and_replay_close_the_runs_of_killed_trainings_but_not_their_own(
    evidence: Evidence,
) -> None:
    client = store.connect()
    host = {"host": socket.gethostname()}
    for number in ("1", "2"):
        client.create_run("0", tags={**host, "pid": DEAD_PID, "process_started": number})
        if number == "1":
            tracking.publish(evidence)
        else:
            assert main(["replay"]) == 0
        assert {run.info.status for run in runs()} == {"FINISHED", "KILLED"}
    with live_run(execution="another") as run:
        tracking.publish(evidence)
        assert client.get_run(run.run_id).info.status == "RUNNING"


@pytest.mark.parametrize(
    "manner",
    ["refusing", "failing", "busy", pytest.param("hanging", marks=pytest.mark.slow)],
)
def test_a_server_of_any_manner_costs_seconds_and_no_run(
    manner: Manner, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeout = "MLFLOW_HTTP_REQUEST_TIMEOUT"
    usual = float(store.ENVIRONMENT_DEFAULTS[timeout])
    if manner == "hanging":
        monkeypatch.setenv(timeout, "1")
    with impostor(manner) as (address, server):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        started = time.monotonic()
        with live_run() as run:
            run.log_epoch(0, {"loss": 0.9})
        assert time.monotonic() - started < 15
        assert server is None or server.asked * usual < 15
        before = 0 if server is None else server.asked
        started = time.monotonic()
        assert tracking.publish(evidence) is None
        assert time.monotonic() - started < 15
        assert server is None or (server.asked - before) * usual < 15
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    tracking.require_published(evidence)
    assert only_run().info.status == "FINISHED"
    assert steps(only_run(), "train/loss") == [(0, 0.9), (1, 0.7)]


@pytest.mark.slow
def test_a_server_refuses_another_sites_host_and_killed_while_a_model_trains_misses_nothing(
    tmp_path: Path, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mlflow_server(tmp_path) as (address, process):
        port = address.rpartition(":")[2]
        for host in ("127.0.0.1", "localhost"):
            assert answer(address, f"{host}:{port}") == 200
        for host in ("attacker.example", f"attacker.example:{port}"):  # DNS rebinding
            assert answer(address, host) == 403
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        with live_run() as run:
            run.log_epoch(0, {"loss": 0.9})
            assert only_run().info.status == "RUNNING"
            end(process)
            started = time.monotonic()
            run.log_epoch(1, {"loss": 0.7})
        assert tracking.publish(evidence) is None
        assert time.monotonic() - started < 15
    with mlflow_server(tmp_path) as (address, _):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        tracking.require_published(evidence)
        assert only_run().info.status == "FINISHED"
        assert steps(only_run(), "train/loss") == [(0, 0.9), (1, 0.7)]


def answer(address: str, host: str) -> int:
    """The status of the experiments' address, asked as `host`."""
    with contextlib.closing(http.client.HTTPConnection(address.removeprefix("http://"))) as link:
        path = "/api/2.0/mlflow/experiments/get?experiment_id=0"
        link.request("GET", path, headers={"Host": host})
        return link.getresponse().status


@pytest.fixture
def given_up() -> Iterator[list[str]]:
    """What failed since SQLite was locked: MLflow waits for 20 seconds, here for half a second."""
    failed: list[str] = []

    def hurry(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> tuple[str, Any]:
        return statement.replace("busy_timeout = 20000", "busy_timeout = 500"), parameters

    def note(context: sqlalchemy.ExceptionContext) -> None:
        if "locked" in str(context.original_exception):
            failed.append(str(context.statement))

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", hurry, retval=True)
    sqlalchemy.event.listen(sqlalchemy.Engine, "handle_error", note)
    yield failed
    sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", hurry)
    sqlalchemy.event.remove(sqlalchemy.Engine, "handle_error", note)


def test_a_store_that_is_locked_for_half_a_minute_stops_no_training(
    root: Path, evidence: Evidence, given_up: list[str]
) -> None:
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as other:
        with live_run() as run:
            other.execute("BEGIN EXCLUSIVE")
            run.log_epoch(0, {"loss": 0.9})
            run.log_epoch(1, {"loss": 0.7})
        other.rollback()
    assert len(given_up) == 1  # less than half a minute: it is not asked a second time
    tracking.require_published(evidence)
    assert only_run().info.status == "FINISHED"
    assert steps(only_run(), "train/loss") == [(0, 0.9), (1, 0.7)]
