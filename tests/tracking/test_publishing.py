"""Runs from files, complete and once."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from knee import tracking
from knee.run import locks
from knee.statistics import scores
from knee.storage import artifacts
from knee.tracking import evidence as evidences
from knee.tracking import publishing, store
from knee.tracking.evidence import Evidence
from tests.tracking.runs import EXECUTION, artifact, live_run, only_run, runs, steps, write_training


def test_publishing_writes_everything_and_repeating_it_changes_nothing(
    evidence: Evidence, tmp_path: Path
) -> None:
    run_id = tracking.publish(evidence)
    first = only_run()
    assert first.info.run_id == run_id
    assert first.info.status == "FINISHED"
    assert first.data.metrics["test/accuracy"] == 0.75
    assert set(first.data.metrics) == {  # the rest is in test.json
        *("test/accuracy", "train/best epoch", "train/learning rate"),
        *("train/loss", "validation/loss"),
    }
    assert steps(first, "validation/loss") == [(0, 0.8)]
    assert steps(first, "train/loss") == [(0, 0.9), (1, 0.7)]
    assert artifact(first, "plots/roc.png", tmp_path) == b"png"
    assert tracking.publish(evidence) == run_id
    second = only_run()
    assert second.to_dictionary() == first.to_dictionary()
    assert steps(second, "train/loss") == steps(first, "train/loss")


def test_publishing_completes_a_live_run(evidence: Evidence) -> None:
    with live_run() as run:
        run.log_epoch(0, {"learning_rate": 0.001, "loss": 0.9, "val_loss": 0.8})
    tracking.publish(evidence)
    logged = only_run()
    assert steps(logged, "train/loss") == [(0, 0.9), (1, 0.7)]
    assert "test/accuracy" in logged.data.metrics
    assert "replayed" not in logged.data.tags


def test_a_new_evaluation_of_a_training_updates_its_figures_and_files(
    evidence: Evidence, tmp_path: Path
) -> None:
    tracking.publish(evidence)
    assert evidence.artifacts["test.json"].write_text('{"accuracy": 0.8}')
    changed = dataclasses.replace(evidence, metrics={**evidence.metrics, "test/accuracy": 0.8})
    tracking.publish(changed)
    assert only_run().data.metrics["test/accuracy"] == 0.8
    assert artifact(only_run(), "test.json", tmp_path) == b'{"accuracy": 0.8}'


def test_file_names_never_reach_mlflow(root: Path, evidence: Evidence) -> None:
    tracking.publish(evidence)
    uploaded = [path for path in (root / "mlartifacts").rglob("*") if path.is_file()]
    assert any(path.name == "predictions.csv" for path in uploaded)
    assert not [path for path in uploaded if b"Doe" in path.read_bytes()]


def test_a_leaky_split_is_named_in_tags_name_and_figures(tmp_path: Path) -> None:
    unknown = {"images": 9, "unknown": 9}
    leaky = tracking.collect(
        *write_training(tmp_path / "leaky", split_protocol="random", patients=unknown)
    )
    assert "The patient of no image is known" in leaky.tags["mlflow.note.content"]
    tracking.publish(leaky)
    run = only_run()
    assert run.data.tags["leaky"] == "true"
    assert "leaky" in run.info.run_name
    assert "leaky test/accuracy" in run.data.metrics
    assert "test/accuracy" not in run.data.metrics


def test_of_several_runs_of_one_execution_one_is_kept(evidence: Evidence) -> None:
    client = store.connect()
    experiment = store.experiment_id(store.connect(), "x")
    kept = [
        client.create_run(experiment, tags={"execution": EXECUTION}).info.run_id for _ in range(4)
    ]
    assert tracking.publish(evidence) in kept
    assert len(runs()) == 1


def test_missing_evidence_is_an_error_that_names_the_file(evidence: Evidence) -> None:
    evidence.artifacts["test.json"].unlink()
    with pytest.raises(artifacts.ArtifactError, match=r"test\.json does not exist"):
        tracking.publish(evidence)
    assert runs() == []


def test_while_another_process_publishes_one_waits_and_then_goes_on_without(
    root: Path,
    evidence: Evidence,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(publishing, "PUBLISHING_SECONDS", 0.0)
    with locks.held(root / "mlflow.db.publish.lock", "a run"):
        assert tracking.publish(evidence) is None
        assert f"process {os.getpid()}" in caplog.text
    assert tracking.publish(evidence) == only_run().info.run_id


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/x"])
def test_artifact_paths_stay_inside_the_run(evidence: Evidence, path: str) -> None:
    with pytest.raises(artifacts.ArtifactError, match="leaves the run"):
        dataclasses.replace(evidence, artifacts={path: Path("x")})


def test_an_execution_cannot_name_another_folder(evidence: Evidence) -> None:
    with pytest.raises(artifacts.ArtifactError, match="execution"):
        dataclasses.replace(evidence, execution="../other")


def test_an_incomplete_training_record_is_named(tmp_path: Path) -> None:
    models_folder, metrics = write_training(tmp_path)
    (models_folder / "training.json").write_text('{"execution": "a"}')
    with pytest.raises(artifacts.ArtifactError, match=r"training\.json.*split_protocol"):
        tracking.collect(models_folder, metrics)


def test_only_explanations_of_this_model_go_with_a_training(tmp_path: Path) -> None:
    models_folder, metrics = write_training(tmp_path, model_sha256="new")
    (metrics / "explanation").mkdir()
    (metrics / "explanation" / "maps.png").write_bytes(b"png")
    (metrics / "explanation_headline.json").write_text('{"agreement": 0.25}')
    names = {"explanation.json", "explanation_headline.json", "explanation/maps.png"}
    for sha256, kept in (("old", set()), ("new", names)):
        (metrics / "explanation.json").write_text(json.dumps({"model_sha256": sha256}))
        found = tracking.collect(models_folder, metrics)
        assert names & set(found.artifacts) == kept
        assert "plots/roc.png" in found.artifacts


def test_history_columns_are_grouped_by_subset() -> None:
    assert evidences.epoch_metric("val_loss") == "validation/loss"
    assert evidences.epoch_metric("learning_rate") == "train/learning rate"


def test_a_run_has_at_most_twenty_metrics_and_what_models_are_chosen_by_comes_first(
    tmp_path: Path,
) -> None:
    models_folder, metrics = write_training(tmp_path)
    figures = dict.fromkeys(scores.HEADLINE, 0.5)
    ends = {name: {"low": 0.4, "high": 0.6} for name in figures}
    report = json.dumps({**figures, "confidence_interval": ends, "per_class": {"A+": {"f1": 1}}})
    (metrics / "test.json").write_text(report)
    folds = {**json.loads(report), "backbone": "mobilenet", "data_fingerprint": "d" * 64}
    (metrics / "cross_validation.json").write_text(json.dumps(folds))
    found = tracking.collect(models_folder, metrics, chosen_by={"quadratic_kappa": 0.7})
    curves = ("loss", "val_loss", "accuracy", "val_accuracy", "learning_rate")
    names = sorted({*found.metrics, *map(evidences.epoch_metric, curves)})
    assert names[0] == "chosen by/quadratic kappa"
    assert len(names) <= 20
    assert found.metrics["test/macro-F1 low"] == 0.4
