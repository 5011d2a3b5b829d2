"""Publishing of a finished training's files as its MLflow run: what is missing, nothing twice.

The evidence of a training is what its stages wrote (`evidence.collect`), so nothing waits in a
queue: `replay` publishes whatever the project holds, and DVC restores what an earlier experiment
held (docs/operations.md).
"""

from __future__ import annotations

import csv
import logging
import math
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from knee.run import locks
from knee.storage.artifacts import ArtifactError
from knee.tracking.evidence import Evidence, collect, epoch_metric, public_bytes
from knee.tracking.models import log_model
from knee.tracking.processes import close_stale_runs, origin_tags
from knee.tracking.store import (
    EXECUTION_TAG,
    Store,
    TrackingError,
    brief,
    connect,
    errors_translated,
    experiment_id,
    find_run,
    patient_upload,
    project_root,
    runs_of,
)

METRICS_A_CALL, ENTRIES_A_CALL = 1000, 100  # MLflow's limits
PUBLISHING_SECONDS = 300.0  # how long to wait for another process that publishes

logger = logging.getLogger(__name__)


def publish(evidence: Evidence) -> str | None:
    """Write what is missing of a training's run; return the run's id.

    Repeating it changes nothing. If MLflow is away, None is returned: `replay` writes the run
    later from the same files.

    Raises:
        ArtifactError: a file of the evidence is missing or damaged.
    """
    try:
        return require_published(evidence)
    except TrackingError as error:
        logger.warning("%s. `make replay` writes the run once MLflow answers.", error)
        return None


def require_published(evidence: Evidence) -> str:
    """Do as `publish`, but MLflow has to be there.

    Raises:
        TrackingError: MLflow is away or refuses.
        ArtifactError: a file of the evidence is missing or damaged.
    """
    _check_files(evidence)
    with (
        errors_translated(f"writing run {evidence.execution}"),
        locks.held(project_root() / "mlflow.db.publish.lock", "an MLflow run", PUBLISHING_SECONDS),
    ):
        store = connect()
        run_id = _write(store, evidence)
        close_stale_runs(store)
    return run_id


def replay() -> bool:
    """Publish every finished training of the project and close runs of killed processes.

    Returns:
        Whether all of it was done; what stands in the way is logged.
    """
    folders = finished()
    published = 0
    try:
        with errors_translated("closing runs of killed processes"):
            close_stale_runs(connect())
        for models, metrics in folders:
            try:
                require_published(_collected(models, metrics))
                published += 1
            except ArtifactError as error:
                logger.warning("%s", error)
    except TrackingError as error:
        logger.warning("%s", error)
        return False
    logger.info("%d of %d finished trainings are in MLflow", published, len(folders))
    return published == len(folders)


def missing() -> list[str]:
    """Return the executions of finished trainings whose figures MLflow has not got.

    Raises:
        TrackingError: MLflow is away or refuses.
        ArtifactError: a file of a training is missing or damaged.
    """
    found = [_collected(models, metrics) for models, metrics in finished()]
    store = connect() if found else None
    with errors_translated("looking for runs"):
        return [each.execution for each in found if store and not _has_figures(store, each)]


def finished() -> list[tuple[Path, Path]]:
    """Return the folders of models and of metrics of each backbone whose test figures are current.

    Between `train` and `evaluate` the figures are those of an earlier model: dvc.lock tells.

    Raises:
        ArtifactError: dvc.lock is damaged.
    """
    root = project_root()
    models = sorted(file.parent for file in root.glob("models/*/training.json"))
    recorded = _recorded_stages(root / "dvc.lock") if models else {}
    return [
        (folder, root / "metrics" / folder.name)
        for folder in models
        if (trained := _md5(recorded, f"train@{folder.name}", "outs", folder.name))
        and trained == _md5(recorded, f"evaluate@{folder.name}", "deps", folder.name)
    ]


def _recorded_stages(lock: Path) -> dict[str, Any]:
    try:
        return dict(yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"])
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ArtifactError(f"{lock} is damaged: run `make repro`") from error


def _md5(recorded: Mapping[str, Any], stage: str, kind: str, backbone: str) -> str | None:
    """MD5 of the folder of models among a stage's outputs or dependencies in dvc.lock."""
    entries = recorded.get(stage, {}).get(kind, [])
    found = [entry.get("md5") for entry in entries if entry["path"] == f"models/{backbone}"]
    return found[0] if found else None


def _collected(models: Path, metrics: Path) -> Evidence:
    split = metrics.parent / "split.json"
    return collect(models, metrics, {"pipeline/split.json": split} if split.is_file() else None)


def _has_figures(store: Store, evidence: Evidence) -> bool:
    runs = runs_of(store, evidence.execution)
    return bool(runs) and all(
        _same(runs[0].data.metrics.get(name), value) for name, value in evidence.metrics.items()
    )


def _check_files(evidence: Evidence) -> None:
    """Make sure that what fails afterwards is MLflow's fault."""
    own = (evidence.model, evidence.history, evidence.novelty)
    for path in [*evidence.artifacts.values(), *own]:
        if path is not None and not path.is_file():
            raise ArtifactError(f"{path} does not exist: run `dvc repro`")
    if evidence.history is not None:
        list(_read_history(evidence.history))


def _write(store: Store, evidence: Evidence) -> str:
    """Complete the run of an execution, or create it; return its id."""
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

    lacking = [Param(k, str(v)) for k, v in sorted(parameters.items()) if k not in run.data.params]
    for chunk in _chunks(lacking, ENTRIES_A_CALL):
        store.client.log_batch(run.info.run_id, params=chunk)


def _log_history(store: Store, run_id: str, evidence: Evidence) -> None:
    from mlflow.entities import Metric

    if evidence.history is None:
        return
    present: dict[str, set[int]] = {}
    lacking = []
    now = _milliseconds()
    for epoch, column, value in _read_history(evidence.history):
        name = epoch_metric(column)
        if name not in present:
            logged = store.client.get_metric_history(run_id, name)
            present[name] = {metric.step for metric in logged}
        if epoch not in present[name]:
            lacking.append(Metric(name, value, now, epoch))
    for chunk in _chunks(lacking, METRICS_A_CALL):
        store.client.log_batch(run_id, metrics=chunk)


def _read_history(path: Path) -> Iterator[tuple[int, str, float]]:
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
    """Upload the files; those that the run has are replaced."""
    with tempfile.TemporaryDirectory() as folder, patient_upload():
        for name, path in evidence.artifacts.items():
            target = Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(public_bytes(path))
        store.client.log_artifacts(run_id, folder)


def _same(logged: float | None, value: float) -> bool:
    return logged is not None and (logged == value or (math.isnan(logged) and math.isnan(value)))


def _chunks(entries: list[Any], size: int) -> Iterable[list[Any]]:
    return (entries[start : start + size] for start in range(0, len(entries), size))


def _milliseconds() -> int:
    return int(time.time() * 1000)
