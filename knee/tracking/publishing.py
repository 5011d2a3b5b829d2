"""Publishing of a finished training's files as its MLflow run: what is missing, nothing twice.

The evidence of a training is what its stages wrote (`evidence.collect`), so nothing waits in a
queue: `replay` publishes whatever the project holds, and DVC restores what an earlier experiment
held (docs/operations.md).
"""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from knee.run import locks
from knee.storage.artifacts import ArtifactError
from knee.tracking import runs_page
from knee.tracking.evidence import Evidence, collect, epoch_metric, public_bytes
from knee.tracking.live import close_stale_runs, create_run, log_labels
from knee.tracking.models import delete_models, log_model
from knee.tracking.store import (
    ATTEMPTS,
    CONFLICTS,
    TrackingError,
    brief,
    connect,
    errors_translated,
    patient_upload,
    project_root,
    repeated,
    runs_of,
    tolerated,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

NOTE_TAG = "mlflow.note.content"  # MLflow's name of a run's description
VERDICT_TAG = "verdict"
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
    own = (evidence.model, evidence.history, evidence.novelty, evidence.locator)
    for path in (*evidence.artifacts.values(), *own):
        if path is not None and not path.is_file():
            raise ArtifactError(f"{path} does not exist: run `dvc repro`")
    history = _read_history(evidence.history)  # what fails from here on is MLflow's fault
    with (
        errors_translated(f"writing run {evidence.execution}"),
        locks.held(project_root() / "mlflow.db.publish.lock", "an MLflow run", PUBLISHING_SECONDS),
    ):
        client = connect()
        run_id = _write(client, evidence, history)
        close_stale_runs(client)
    return run_id


def describe_run(run_id: str, verdict: str) -> str:
    """Write the verdict on a run, with a link to its model card; return the address of its page.

    What a person wrote there instead stays.

    Raises:
        TrackingError: MLflow is away or refuses.
    """
    with errors_translated("describing a run"):
        client = connect()
        run, address = client.get_run(run_id), runs_page.run_address(client, run_id)
        before, note = run.data.tags.get(VERDICT_TAG), run.data.tags.get(NOTE_TAG, "")
        if before is None or note == _note(before, address):
            client.set_tag(run_id, NOTE_TAG, _note(verdict, address))
        client.set_tag(run_id, VERDICT_TAG, verdict)
        return address


def _note(verdict: str, address: str) -> str:
    """The description of a run; its link works at whichever address MLflow's pages are."""
    card = runs_page.card_address(address)
    return f"{verdict}\n\n[Model card]({card[card.index('#') :]})"


def replay() -> bool:
    """Publish every finished training of the project and close runs of killed processes.

    Returns:
        Whether all of it was done; what is in the way is logged.
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
    if not found:
        return []
    client = connect()
    with errors_translated("looking for runs"):
        return [
            each.execution
            for each in found
            if not (runs := runs_of(client, each.execution)) or _changed(runs[0], each)
        ]


def finished() -> list[tuple[Path, Path]]:
    """Return the folders of models and of metrics of each backbone whose test figures are current.

    Between `train` and `evaluate` the figures are those of an earlier model: dvc.lock tells.

    Raises:
        ArtifactError: dvc.lock is damaged.
    """
    root = project_root()
    models = sorted(file.parent for file in root.glob("models/*/training.json"))
    lock = root / "dvc.lock"
    if not models or not lock.exists():
        return []
    try:
        recorded = dict(yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"])
    except (ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ArtifactError(f"{lock} is damaged: run `make repro`") from error
    return [
        (folder, root / "metrics" / folder.name)
        for folder in models
        if (evaluated := _md5(recorded, f"evaluate@{folder.name}", "deps", folder.name))
        and evaluated in [_md5(recorded, stage, "outs", folder.name) for stage in recorded]
    ]


def _md5(recorded: Mapping[str, Any], stage: str, kind: str, backbone: str) -> str | None:
    """MD5 of the folder of models among a stage's outputs or dependencies in dvc.lock."""
    entries = recorded.get(stage, {}).get(kind, [])
    path = f"models/{backbone}"
    return next((entry.get("md5") for entry in entries if entry["path"] == path), None)


def _collected(models: Path, metrics: Path) -> Evidence:
    split = metrics.parent / "split.json"
    return collect(models, metrics, {"pipeline/split.json": split} if split.is_file() else None)


def _write(client: MlflowClient, evidence: Evidence, history: pd.DataFrame) -> str:
    """Complete the run of an execution, or create it; return its id.

    Clones of a project may do this at once at one server. Each looks again after it has created a
    run, and all keep the same one; whose run was deleted meanwhile goes on with the kept one.
    """
    from mlflow.exceptions import MlflowException

    for _ in range(ATTEMPTS):
        run = repeated(lambda: _chosen(client, evidence))
        failure = None
        try:
            _complete(client, run, evidence, history)
        except MlflowException as error:
            failure = error
        if _is_deleted(client, run):
            delete_models(client, run)
        elif failure is None:
            return str(run.info.run_id)
        elif failure.error_code not in CONFLICTS:
            raise failure
    raise TrackingError(f"other processes write run {evidence.execution}, too: run it again")


def _chosen(client: MlflowClient, evidence: Evidence) -> Run:
    """The run of the execution, created where there is none; further ones and models of theirs go.

    Of several that a slow server made of one request, or clones of the project, one is kept.
    """
    if not runs_of(client, evidence.execution):
        create_run(client, evidence, replayed="true")
    kept, *surplus = runs_of(client, evidence.execution)
    for run in surplus:
        with tolerated("INVALID_PARAMETER_VALUE"):  # another process has deleted it already
            client.set_tag(run.info.run_id, "duplicate_of", kept.info.run_id)
        delete_models(client, run)
        client.delete_run(run.info.run_id)
    return kept


def _complete(client: MlflowClient, run: Run, evidence: Evidence, history: pd.DataFrame) -> None:
    run_id = str(run.info.run_id)
    log_labels(client, run, evidence)
    _log_figures(client, run, evidence, history)
    _log_artifacts(client, run_id, evidence)
    log_model(client, run, evidence)
    if run.info.status != "FINISHED":  # evidence exists, so the training came to its end
        if "end_reason" in run.data.tags:
            client.delete_tag(run_id, "end_reason")
        client.set_terminated(run_id, "FINISHED")


def _is_deleted(client: MlflowClient, run: Run) -> bool:
    return bool(client.get_run(run.info.run_id).info.lifecycle_stage == "deleted")


def _read_history(path: Path) -> pd.DataFrame:
    """A training history, by epoch; NaN where a cell is empty."""
    try:
        table = pd.read_csv(path, dtype=str).astype({"epoch": int}).set_index("epoch")
        return table.astype(float)
    except (OSError, KeyError, ValueError) as error:
        raise ArtifactError(f"{path} is no training history ({brief(error)})") from error


def _log_figures(client: MlflowClient, run: Run, evidence: Evidence, history: pd.DataFrame) -> None:
    """Log the figures of epochs that the run lacks, and the final ones that differ."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    entries = []
    for column, values in history.items():
        name = epoch_metric(str(column))
        logged = {metric.step for metric in client.get_metric_history(run.info.run_id, name)}
        entries += [
            Metric(name, value, now, epoch)
            for epoch, value in values.dropna().items()
            if epoch not in logged
        ]
    entries += [Metric(name, value, now, 0) for name, value in _changed(run, evidence).items()]
    client.log_batch(run.info.run_id, metrics=entries)


def _changed(run: Run, evidence: Evidence) -> dict[str, float]:
    """The final figures that the run has not got, or with another value."""
    logged = run.data.metrics
    return {
        name: value
        for name, value in sorted(evidence.metrics.items())
        if name not in logged
        or not (logged[name] == value or (math.isnan(logged[name]) and math.isnan(value)))
    }


def _log_artifacts(client: MlflowClient, run_id: str, evidence: Evidence) -> None:
    """Upload the files; those that the run has are replaced."""
    with tempfile.TemporaryDirectory() as folder, patient_upload():
        for name, path in evidence.artifacts.items():
            target = Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(public_bytes(path))
        try:
            client.log_artifacts(run_id, folder)
        except FileExistsError:  # another clone made a folder of the same run just now
            client.log_artifacts(run_id, folder)
