"""What a training leaves behind, and questions to the store about it."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from knee import tracking
from knee.storage import provenance
from knee.tracking import store
from tests.shared import made_once

EXECUTION = "0123456789abcdef"
FACTS = {
    "execution": EXECUTION,
    "backbone": "mobilenet",
    "data": "sample",
    "classes": ["Normal", "Osteoporosis"],
    "synthetic": True,
    "split_protocol": "grouped",
    "data_fingerprint": "d" * 64,
    "split_fingerprint": "5" * 64,
    "best_epoch": 1,
    "weights": 1000,
    "parameters": {"train.epochs": 2, "backbone.side_pixels": 16, "backbone.weights": "/home/x/w"},
}


@functools.cache
def empty_store(base: Path) -> Path:
    """An initialised SQLite store; creating its tables takes seconds, copying it nothing.

    `base` is pytest's base folder.
    """

    def make(folder: Path) -> None:
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DVC_ROOT", str(folder))
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            store.connect()

    return made_once(base, "empty_store", make) / "mlflow.db"


def own_store(root: Path, base: Path, patch: pytest.MonkeyPatch) -> None:
    """Give the project at `root` an empty store of its own; `base` is pytest's base folder."""
    patch.setenv("DVC_ROOT", str(root))
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    patch.delenv("DVC_EXP_NAME", raising=False)
    shutil.copy(empty_store(base), root / "mlflow.db")


def write_training(folder: Path, **changes: Any) -> tuple[Path, Path]:
    """What the stages write for one backbone: folders of models and of metrics."""
    models_folder, metrics = folder / "models", folder / "metrics"
    (metrics / "plots").mkdir(parents=True, exist_ok=True)
    models_folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(models_folder / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    digest = {"model_sha256": provenance.fingerprint(models_folder / "model.keras")}
    record = provenance.sealed({**FACTS, **digest, **changes})
    (models_folder / "training.json").write_text(json.dumps(record))
    (metrics / "test.json").write_text(
        json.dumps(
            {"accuracy": 0.75, "per_class": {"Grade 2+": {"f1": 0.5}}, "note": "x", "flag": True}
        )
    )
    (metrics / "history.csv").write_text(
        "epoch,learning_rate,loss,val_loss\n0,0.001,0.9,0.8\n1,0.0005,0.7,\n"
    )
    (metrics / "predictions.csv").write_text(
        'record,source,pixel_sha256\n0,"Normal/Doe, Jane.png",ab\n'
    )
    (metrics / "plots" / "roc.png").write_bytes(b"png")
    return models_folder, metrics


def write_project(root: Path, *backbones: str, evaluated: bool = True) -> None:
    """Finished trainings of `backbones` where `replay` looks for them, and dvc.lock."""
    stages: dict[str, Any] = {}
    for name in backbones:
        models, metrics = write_training(root / name, execution=f"of-{name}", backbone=name)
        for folder, kind in ((models, "models"), (metrics, "metrics")):
            (root / kind).mkdir(exist_ok=True)
            folder.rename(root / kind / name)
        trained = {"path": f"models/{name}", "md5": "0.dir"}
        used = {**trained, "md5": "0.dir" if evaluated else "1.dir"}
        stages[f"train@{name}"] = {"outs": [trained]}
        stages[f"evaluate@{name}"] = {"deps": [used]}
    (root / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": stages}))


def runs() -> list[Any]:
    client = store.connect()
    return list(client.search_runs([e.experiment_id for e in client.search_experiments()]))


def only_run() -> Any:
    (run,) = runs()
    return run


def steps(run: Any, metric: str) -> list[tuple[int, float]]:
    history = store.connect().get_metric_history(run.info.run_id, metric)
    return sorted((point.step, point.value) for point in history)


def artifact(run: Any, name: str, folder: Path) -> bytes:
    client = store.connect()
    return Path(client.download_artifacts(run.info.run_id, name, str(folder))).read_bytes()


def live_run(**changes: Any) -> Any:
    return tracking.training_run(dataclasses.replace(tracking.labels(FACTS), **changes))
