"""One run in MLflow from evidence: whatever is missing is written, nothing twice."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from knee.storage import json_files
from knee.storage.artifacts import ArtifactError
from knee.tracking import evidence as evidences
from knee.tracking.evidence import Evidence
from knee.tracking.models import log_model
from knee.tracking.processes import origin_tags
from knee.tracking.store import EXECUTION_TAG, Store, brief, experiment_id, find_run, patient_upload

MANIFEST = "manifest.json"  # SHA-256 of every artifact that was uploaded
METRICS_A_CALL, ENTRIES_A_CALL = 1000, 100  # MLflow's limits


def log_dataset(store: Store, run: Any, tags: Mapping[str, str]) -> None:
    """Name the data in the run's `Dataset` column: experiment and fingerprint, no path."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    digest = tags.get("data_fingerprint", "")[:8]
    if digest and not (run.inputs and run.inputs.dataset_inputs):
        name = "synthetic radiographs" if tags.get("synthetic") == "true" else "radiographs"
        data = Dataset(name, digest, source_type="local", source="{}")
        context = InputTag("mlflow.data.context", tags.get("split_protocol", "") + " split")
        store.client.log_inputs(run.info.run_id, [DatasetInput(data, [context])])


def log_parameters(store: Store, run: Any, parameters: Mapping[str, Any]) -> None:
    """Log the parameters that the run lacks; those it has cannot change."""
    from mlflow.entities import Param

    missing = [Param(k, str(v)) for k, v in sorted(parameters.items()) if k not in run.data.params]
    for chunk in _chunks(missing, ENTRIES_A_CALL):
        store.client.log_batch(run.info.run_id, params=chunk)


def write(store: Store, evidence: Evidence) -> str:
    """Complete the run of an execution, or create it; returns its id."""
    run = find_run(store, evidence.execution) or _create_run(store, evidence)
    run_id = str(run.info.run_id)
    for key, value in sorted(evidence.tags.items()):
        if key not in run.data.tags:
            store.client.set_tag(run_id, key, value)
    log_dataset(store, run, evidence.tags)
    log_parameters(store, run, evidence.parameters)
    _log_history(store, run_id, evidence)
    _log_metrics(store, run, evidence)
    _log_artifacts(store, run_id, evidence)
    if evidence.model is not None:
        log_model(store, run, evidence)
    if run.info.status != "FINISHED":  # evidence exists, so the training came to its end
        if "end_reason" in run.data.tags:
            store.client.delete_tag(run_id, "end_reason")
        store.client.set_terminated(run_id, "FINISHED")
    return run_id


def _create_run(store: Store, evidence: Evidence) -> Any:
    tags = {**origin_tags(), **evidence.tags, EXECUTION_TAG: evidence.execution, "replayed": "true"}
    experiment = experiment_id(store, evidence.experiment)
    return store.client.create_run(experiment, tags=tags, run_name=evidence.name)


def _log_history(store: Store, run_id: str, evidence: Evidence) -> None:
    from mlflow.entities import Metric

    if evidence.history is None:
        return
    present: dict[str, set[int]] = {}
    missing = []
    now = _milliseconds()
    for epoch, column, value in read_history(evidence.history):
        name = evidences.epoch_metric(column)
        if name not in present:
            logged = store.client.get_metric_history(run_id, name)
            present[name] = {metric.step for metric in logged}
        if epoch not in present[name]:
            missing.append(Metric(name, value, now, epoch))
    for chunk in _chunks(missing, METRICS_A_CALL):
        store.client.log_batch(run_id, metrics=chunk)


def read_history(path: Path) -> Iterator[tuple[int, str, float]]:
    """(epoch, column, value) of each figure of a training history; empty cells are left out."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                epoch = int(float(row.pop("epoch")))
                yield from ((epoch, name, float(text)) for name, text in row.items() if text)
    except (OSError, KeyError, ValueError) as error:
        raise ArtifactError(f"{path} is no training history ({brief(error)})") from error


def _log_metrics(store: Store, run: Any, evidence: Evidence) -> None:
    from mlflow.entities import Metric

    now = _milliseconds()
    changed = [
        Metric(name, value, now, 0)
        for name, value in sorted(evidence.metrics.items())
        if not _same(run.data.metrics.get(name), value)
    ]
    for chunk in _chunks(changed, METRICS_A_CALL):
        store.client.log_batch(run.info.run_id, metrics=chunk)


def _log_artifacts(store: Store, run_id: str, evidence: Evidence) -> None:
    """Upload the files whose content differs from what the run's manifest lists."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        known = _read_manifest(store, run_id, folder)
        manifest = dict(known)
        for name, path in sorted(evidence.artifacts.items()):
            content = evidences.public_bytes(path)
            manifest[name] = hashlib.sha256(content).hexdigest()
            if manifest[name] != known.get(name):
                target = folder / "upload" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        if manifest != known:
            text = json.dumps(manifest, indent=2, sort_keys=True)
            (folder / "upload" / MANIFEST).write_text(text, encoding="utf-8")
            with patient_upload():
                store.client.log_artifacts(run_id, str(folder / "upload"))


def _read_manifest(store: Store, run_id: str, folder: Path) -> dict[str, str]:
    if MANIFEST not in [entry.path for entry in store.client.list_artifacts(run_id)]:
        return {}
    path = Path(store.client.download_artifacts(run_id, MANIFEST, str(folder)))
    return {str(name): str(digest) for name, digest in json_files.read_json(path).items()}


def _same(logged: float | None, value: float) -> bool:
    return logged is not None and (logged == value or (math.isnan(logged) and math.isnan(value)))


def _chunks(entries: list[Any], size: int) -> Iterable[list[Any]]:
    return (entries[start : start + size] for start in range(0, len(entries), size))


def _milliseconds() -> int:
    return int(time.time() * 1000)
