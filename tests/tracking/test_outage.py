"""A server that does not answer, and its return."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from stages import tracking
from stages.tracking.__main__ import main
from stages.tracking.evidence import Evidence
from stages.tracking.pending import keep, recall, waiting_folders
from tests.tracking.runs import EXECUTION, live_run, only_run, runs, steps, write_training


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
