"""A cross-validation's figures reach the run of the training that it belongs to, and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from knee import tracking
from tests.tracking.runs import FACTS, artifact, only_run, write_training

FOUND = {
    "status": "done",
    "backbone": FACTS["backbone"],
    "data_fingerprint": FACTS["data_fingerprint"],
    "parameters": {"train.epochs": 2},
    "macro_f1": 0.7,
    "macro_auc": None,
    "confidence_interval": {
        "macro_f1": {"low": 0.6, "high": 0.8},
        "macro_auc": {"low": None, "high": None},
    },
    "over_folds": {"macro_f1": {"mean": 0.7, "standard_deviation": 0.05}},
}


def written(folder: Path, **changes: Any) -> tuple[Path, Path]:
    models, metrics = write_training(folder)
    (metrics / "cross_validation.json").write_text(json.dumps({**FOUND, **changes}))
    for name in ("out_of_fold.csv", "heads_out_of_fold.csv"):
        (metrics / name).write_text("record,fold\n0,1\n")
    return models, metrics


def of_folds(values: Any) -> set[str]:
    return {name for name in values if "cross-val" in name or "cross_val" in name or "fold" in name}


def test_figures_and_files_of_the_folds_complete_the_run_that_exists(tmp_path: Path) -> None:
    tracking.publish(tracking.collect(*write_training(tmp_path / "work")))
    assert not of_folds(only_run().data.metrics)
    tracking.publish(tracking.collect(*written(tmp_path / "work")))
    run = only_run()
    assert {name: run.data.metrics[name] for name in of_folds(run.data.metrics)} == {
        "cross-validation/macro-F1": 0.7,
        "cross-validation/macro-F1 low": 0.6,
        "cross-validation/macro-F1 high": 0.8,
    }
    assert json.loads(artifact(run, "cross_validation.json", tmp_path))["macro_f1"] == 0.7
    assert artifact(run, "out_of_fold.csv", tmp_path).startswith(b"record")


@pytest.mark.parametrize(
    "changes",
    [
        {"data_fingerprint": "other"},
        {"backbone": "xception"},
        {"parameters": {"train.epochs": 3}},
    ],
)
def test_folds_of_other_data_or_parameters_are_left_out(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    evidence = tracking.collect(*written(tmp_path / "work", **changes))
    assert not of_folds(evidence.metrics)
    assert not of_folds(evidence.artifacts)


def test_what_did_not_run_has_no_figure_and_its_file_says_so(tmp_path: Path) -> None:
    models, metrics = write_training(tmp_path / "work")
    kept = ("backbone", "data_fingerprint", "parameters")
    said = {"status": "not run", **{name: FOUND[name] for name in kept}}
    (metrics / "cross_validation.json").write_text(json.dumps(said))
    evidence = tracking.collect(models, metrics)
    assert not of_folds(evidence.metrics)
    assert "cross_validation.json" in evidence.artifacts


def test_what_stages_beside_it_may_be_writing_is_left_out(tmp_path: Path) -> None:
    models, metrics = written(tmp_path / "work")
    sha256 = json.loads((models / "training.json").read_text())["model_sha256"]
    (metrics / "explanation.json").write_text(json.dumps({"model_sha256": sha256}))
    (metrics / ".explanation_headline.staged.json").write_text("{")
    (metrics / "plots" / ".confusion.staged.png").write_text("half")
    alone = tracking.collect(models, metrics, others_at_work=True)
    assert not of_folds(alone.metrics)
    whole = tracking.collect(models, metrics)
    assert {*whole.artifacts} - {*alone.artifacts} == {
        *("cross_validation.json", "out_of_fold.csv", "heads_out_of_fold.csv", "explanation.json")
    }
    assert not [name for name in whole.artifacts if "staged" in name]
