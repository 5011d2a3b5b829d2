"""A server that does not answer, and its return."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from knee import tracking
from knee.tracking import silence, store
from knee.tracking.__main__ import main
from knee.tracking.evidence import Evidence
from knee.tracking.pending import keep, recall, waiting_folders
from tests.tracking.runs import EXECUTION, live_run, only_run, runs, steps, write_training
from tests.tracking.servers import Manner, end, impostor, mlflow_server

DEAD_PID = str(2**22 + 1)  # no system gives a process such a number


@pytest.mark.usefixtures("away")
def test_without_a_server_training_goes_on_and_evidence_waits(
    evidence: Evidence, caplog: pytest.LogCaptureFixture
) -> None:
    started = time.monotonic()
    with live_run() as run:
        run.log_epoch(0, {"loss": 0.9})
    assert tracking.publish(evidence) is None
    assert tracking.replay_pending() == 0
    assert time.monotonic() - started < 15
    assert [folder.name for folder in waiting_folders()] == [EXECUTION]
    assert "will be replayed" in caplog.text
    assert "secret" not in caplog.text


def test_waiting_evidence_is_replayed_once_when_mlflow_is_back(
    away: Path, evidence: Evidence, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tracking.publish(evidence)
    tracking.publish(evidence)
    shutil.rmtree(tmp_path / "work")  # the copy alone has to do
    copy = tmp_path / "copy"
    shutil.copytree(away / "pending_runs", copy)
    assert b"Doe" not in b"".join(p.read_bytes() for p in copy.rglob("*") if p.is_file())
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert main(["replay"]) == 0
    first = only_run()
    assert waiting_folders() == []
    assert first.data.metrics["test/accuracy"] == 0.75
    assert steps(first, "train/loss") == [(0, 0.9), (1, 0.7)]
    shutil.copytree(copy, away / "pending_runs", dirs_exist_ok=True)
    assert tracking.replay_pending() == 1
    assert only_run().to_dictionary() == first.to_dictionary()


def test_a_damaged_waiting_folder_is_named_and_does_not_stop_the_others(
    away: Path,
    evidence: Evidence,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tracking.publish(evidence)
    damaged = away / "pending_runs" / "0000"
    damaged.mkdir()
    (damaged / "evidence.json").write_text("{")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert tracking.replay_pending() == 1
    assert waiting_folders() == [damaged]
    assert str(damaged) in caplog.text
    assert main(["replay"]) == 1


@pytest.mark.usefixtures("away")
def test_the_next_training_replays_what_waits(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking.publish(evidence)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with live_run(execution="another"):
        assert {run.data.tags["execution"] for run in runs()} == {EXECUTION, "another"}
    assert waiting_folders() == []


def test_an_interrupted_copy_leaves_no_waiting_run(
    away: Path, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space"):
        tracking.publish(evidence)
    assert list((away / "pending_runs").iterdir()) == []


def test_waiting_evidence_keeps_all_files_of_the_model(root: Path, tmp_path: Path) -> None:
    models, metrics = write_training(tmp_path / "work", novelty={"sha256": "0" * 64})
    (models / "novelty.npz").write_bytes(b"arrays")
    kept = recall(keep(tracking.collect(models, metrics)))
    assert kept.novelty is not None
    assert kept.novelty.is_relative_to(root / "pending_runs")
    assert kept.novelty.read_bytes() == b"arrays"


def test_publishing_and_replay_close_the_runs_of_killed_trainings_but_not_their_own(
    evidence: Evidence,
) -> None:
    client = store.connect().client
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
    manner: Manner, root: Path, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
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
        assert tracking.publish(evidence) is None
        assert time.monotonic() - started < 15
        assert server is None or server.asked * usual < 15
        assert [folder.name for folder in waiting_folders()] == [EXECUTION]
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert main(["replay"]) == 0
    assert only_run().info.status == "FINISHED"
    assert steps(only_run(), "train/loss") == [(0, 0.9), (1, 0.7)]
    assert not (root / "mlflow.db.silent").exists()


def test_stages_of_one_dvc_wait_once_and_what_needs_the_server_asks_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_STAGE", "train@mobilenet")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")  # on a loaded machine, too
    with impostor("failing") as (address, server):
        assert server is not None
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address.replace("//", "//somebody:secret@"))
        asked = []
        for ask_anew in (False, False, True):
            monkeypatch.setattr(silence, "_since", {})  # as in the next stage's process
            with pytest.raises(tracking.TrackingError):
                store.connect(ask_anew=ask_anew)
            asked.append(server.asked)
        assert asked[0] == asked[1] < asked[2]
        assert b"secret" not in (root / "mlflow.db.silent").read_bytes()
        monkeypatch.setattr(silence, "_since", {})
        monkeypatch.setattr(os, "getppid", lambda: 1)  # the next dvc
        with pytest.raises(tracking.TrackingError):
            store.connect()
        assert server.asked > asked[2]


@pytest.mark.slow
def test_a_server_that_is_killed_while_a_model_trains_misses_nothing_in_the_end(
    tmp_path: Path, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mlflow_server(tmp_path) as (address, process):
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
        monkeypatch.setattr(silence, "_since", {})  # as in another process
        assert main(["replay"]) == 0
        assert only_run().info.status == "FINISHED"
        assert steps(only_run(), "train/loss") == [(0, 0.9), (1, 0.7)]


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
    root: Path, evidence: Evidence, monkeypatch: pytest.MonkeyPatch, given_up: list[str]
) -> None:
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as other:
        with live_run() as run:
            other.execute("BEGIN EXCLUSIVE")
            run.log_epoch(0, {"loss": 0.9})
            run.log_epoch(1, {"loss": 0.7})
        assert tracking.publish(evidence) is None
        other.rollback()
    assert len(given_up) == 1  # less than half a minute: it is not asked a second time
    monkeypatch.setattr(silence, "_since", {})  # as in another process
    assert tracking.replay_pending() == 1
    assert only_run().info.status == "FINISHED"
    assert steps(only_run(), "train/loss") == [(0, 0.9), (1, 0.7)]
