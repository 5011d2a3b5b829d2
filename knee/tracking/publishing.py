"""Finished trainings -> MLflow runs, now or when MLflow is back."""

from __future__ import annotations

import logging
from pathlib import Path

from knee.storage.artifacts import ArtifactError
from knee.tracking.evidence import Evidence
from knee.tracking.pending import forget, keep, pending_folder, recall, waiting_folders
from knee.tracking.processes import close_stale_runs
from knee.tracking.store import (
    TrackingError,
    connect,
    errors_translated,
    lock,
    mark_silent,
    project_root,
)
from knee.tracking.writing import read_history, write

logger = logging.getLogger(__name__)


def publish(evidence: Evidence) -> str | None:
    """Write what is missing of a training's run; returns the run's id.

    Repeating it changes nothing. If MLflow is away, the evidence is kept in the project and
    None is returned: `replay_pending` writes it later.
    """
    try:
        with lock(_lock_file()):
            run_id = _require(evidence)
    except TrackingError as error:
        folder = keep(evidence)
        logger.warning("%s. The run is kept in %s and will be replayed.", error, folder)
        return None
    close_killed()
    return run_id


def require_published(evidence: Evidence) -> str:
    """As `publish`, but MLflow has to be there.

    Raises:
        TrackingError: MLflow is away or refuses.
        ArtifactError: a file of the evidence is missing or damaged.
    """
    with lock(_lock_file()):
        connect(ask_anew=True)
        run_id = _require(evidence)
    close_killed()
    return run_id


def replay_pending() -> int:
    """Publish all evidence that waits and remove it; returns how many runs were written.

    Never raises because of MLflow: what cannot be written stays and is named.
    """
    if not waiting_folders():
        return 0
    replayed = 0
    with lock(_lock_file()):
        for folder in waiting_folders():
            try:
                evidence = recall(folder)
                _require(evidence)
            except TrackingError as error:
                logger.warning("%s. Runs still wait in %s.", error, pending_folder())
                break
            except ArtifactError as error:
                logger.warning("%s: not replayed; delete %s if it is of no use", error, folder)
            else:
                logger.info("replayed run %s (%s) to MLflow", evidence.execution, evidence.name)
                replayed += 1
    return replayed


def close_killed() -> None:
    """Close the runs of processes that were killed; never raises because of MLflow."""
    try:
        with errors_translated("closing runs of killed processes"):
            close_stale_runs(connect(), of_this_process=False)
    except TrackingError as error:
        logger.warning("%s", error)


def _require(evidence: Evidence) -> str:
    _check_files(evidence)
    try:
        with errors_translated(f"writing run {evidence.execution}"):
            run_id = write(connect(), evidence)
    except TrackingError:
        mark_silent()
        raise
    forget(evidence.execution)
    return run_id


def _check_files(evidence: Evidence) -> None:
    """So that what fails afterwards is MLflow's fault."""
    own = (evidence.model, evidence.history, evidence.novelty)
    for path in [*evidence.artifacts.values(), *own]:
        if path is not None and not path.is_file():
            raise ArtifactError(f"{path} does not exist: run `dvc repro`")
    if evidence.history is not None:
        list(read_history(evidence.history))


def _lock_file() -> Path:
    return project_root() / "mlflow.db.publish.lock"
