"""The store of runs: its address, the connection, and errors when it does not answer.

The default is an SQLite file in the project's root with a folder of artifacts beside it;
`MLFLOW_TRACKING_URI` names a server instead. Waiting for a server is bounded.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from knee.run import locks
from knee.run.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

EXPERIMENT_COPY = (".dvc", "tmp", "exps")  # where DVC runs queued and temporary experiments
ENVIRONMENT_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "3",  # seconds, for each of two attempts
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",  # a server may ask for an hour
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
UPLOAD_TIMEOUT_SECONDS = "60"  # a server may need that long to store a model
PREPARING_SECONDS = 120.0  # how long to wait for another process that makes the SQLite file
EXECUTION_TAG = "execution"


class TrackingError(UserError):
    """MLflow does not answer, or refuses what it is asked."""


def project_root() -> Path:
    """Return the main checkout's root: `DVC_ROOT` or the working directory, copies resolved.

    DVC runs queued experiments in a throw-away copy below `.dvc/tmp/exps`; runs written into
    the copy would vanish with it.
    """
    root = Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()
    for parent in (root, *root.parents):
        if parent.parts[-len(EXPERIMENT_COPY) :] == EXPERIMENT_COPY:
            return parent.parents[len(EXPERIMENT_COPY) - 1]
    return root


def tracking_uri() -> str:
    """Return `MLFLOW_TRACKING_URI`, or the URI of the SQLite file in the project's root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project_root() / 'mlflow.db'}"


def shown_uri() -> str:
    """Return the tracking URI without a password, for messages."""
    return _without_password(tracking_uri())


def connect() -> MlflowClient:
    """Open the store of runs; an SQLite file that is missing is made.

    MLflow needs a quarter of a minute for its tables and cannot use a file that a kill left
    half-made: they are made in a file beside, which is moved into place.

    Raises:
        TrackingError: MLflow does not answer in time, or refuses.
    """
    with errors_translated("opening the store"):
        prepare_environment()
        path = project_root() / "mlflow.db"
        if not os.environ.get("MLFLOW_TRACKING_URI") and not path.exists():
            lock = path.with_name("mlflow.db.lock")
            with locks.held(lock, "the store of runs", PREPARING_SECONDS):
                if not path.exists():
                    fresh = path.with_name("mlflow.db.new")
                    for left in (fresh, *journals(fresh)):
                        left.unlink(missing_ok=True)
                    _open(f"sqlite:///{fresh}")
                    for left in journals(path):  # of a store that was moved away
                        left.replace(left.with_name(f"{left.name}.left"))
                    fresh.replace(path)
        return _open(tracking_uri())


def journals(file: Path) -> list[Path]:
    """Return what is there of SQLite's journals of `file`: it plays them into a new file there."""
    beside = [file.with_name(f"{file.name}-{kind}") for kind in ("journal", "wal", "shm")]
    return [journal for journal in beside if journal.exists()]


def prepare_environment() -> None:
    """Set MLflow's waiting times and switches, except where the user set them."""
    for name, value in ENVIRONMENT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # names every retry


@contextlib.contextmanager
def patient_upload() -> Iterator[None]:
    """Wait longer for the answer to a large upload, unless the user chose the time."""
    name = "MLFLOW_HTTP_REQUEST_TIMEOUT"
    usual = ENVIRONMENT_DEFAULTS[name]
    chosen = os.environ.get(name, usual)
    with _environment(name, UPLOAD_TIMEOUT_SECONDS if chosen == usual else chosen):
        yield


def uri_in_environment() -> AbstractContextManager[None]:
    """Set `MLFLOW_TRACKING_URI`, for calls with which MLflow ignores the client's address."""
    return _environment("MLFLOW_TRACKING_URI", tracking_uri())


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextlib.contextmanager
def errors_translated(doing: str) -> Iterator[None]:
    """Turn whatever MLflow raises into a `TrackingError` that says what was tried."""
    try:
        yield
    except TrackingError:
        raise
    except Exception as error:
        raise TrackingError(f"{doing} failed at MLflow {shown_uri()}: {brief(error)}") from error


def brief(error: Exception) -> str:
    """Return type and first line of an error, at most 200 characters, without a password."""
    lines = (line for line in _without_password(str(error)).splitlines() if line.strip())
    return f"{type(error).__name__}: {next(lines, '')[:200]}"


def _without_password(text: str) -> str:
    return re.sub(r"://[^/@\s]*@", "://", text)


def experiment_id(client: MlflowClient, name: str) -> str:
    """Return the experiment's id; it is created where missing and restored where deleted."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        location = None
        if not os.environ.get("MLFLOW_TRACKING_URI"):  # else the server chooses
            folder = project_root() / "mlartifacts" / re.sub(r"[^\w.-]", "_", name)
            location = folder.as_uri()
        kind = {"mlflow.experimentKind": "custom_model_development"}  # pages for training
        try:
            return str(client.create_experiment(name, location, kind))
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def search_runs(client: MlflowClient, query: str) -> list[Run]:
    """Return the runs of all experiments for which `query` holds."""
    experiments = [found.experiment_id for found in client.search_experiments()]
    return list(client.search_runs(experiments, query)) if experiments else []


def runs_of(client: MlflowClient, execution: str) -> list[Run]:
    """Return the runs of an execution: most metrics first, the earliest first among equals.

    A slow server creates a run again at every repeated request, so there can be several.
    """
    runs = search_runs(client, f"tags.{EXECUTION_TAG} = '{execution}'")
    return sorted(runs, key=lambda run: (-len(run.data.metrics), run.info.start_time))


def _open(uri: str) -> MlflowClient:
    with warnings.catch_warnings(action="ignore"):  # no user can act on what MLflow warns about
        from mlflow import MlflowClient

        registry_uri = os.environ.get("MLFLOW_REGISTRY_URI", uri)
        client = MlflowClient(tracking_uri=uri, registry_uri=registry_uri)
        client.search_experiments(max_results=1)
    return client
