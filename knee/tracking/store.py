"""The store of runs: its address, the connection, and errors when it does not answer.

The default is an SQLite file in the project's root with a folder of artifacts beside it;
`MLFLOW_TRACKING_URI` names a server instead. Waiting for a server is bounded.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from knee.run import locks
from knee.run.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient

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
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # pages for training


class TrackingError(UserError):
    """MLflow does not answer, or refuses what it is asked."""


@dataclasses.dataclass(frozen=True)
class Store:
    """An open connection, and the folder of artifacts if it is ours to choose."""

    client: MlflowClient
    artifacts: Path | None


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


def connect() -> Store:
    """Open the store of runs; an SQLite file that is missing is made.

    Raises:
        TrackingError: MLflow does not answer in time, or refuses.
    """
    with errors_translated("opening the store"):
        prepare()
        local = not os.environ.get("MLFLOW_TRACKING_URI")
        return Store(_open(tracking_uri()), project_root() / "mlartifacts" if local else None)


def prepare() -> None:
    """Make the SQLite file with MLflow's tables, unless it exists or a server is in use.

    MLflow needs a quarter of a minute for it and cannot use a file that a kill left half-made:
    the tables are made in a file beside, which is moved into place.
    """
    prepare_environment()
    path = project_root() / "mlflow.db"
    if os.environ.get("MLFLOW_TRACKING_URI") or path.exists():
        return
    with locks.held(path.with_name("mlflow.db.lock"), "the store of runs", PREPARING_SECONDS):
        if not path.exists():
            fresh = path.with_name("mlflow.db.new")
            fresh.unlink(missing_ok=True)
            _open(f"sqlite:///{fresh}")
            fresh.replace(path)


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
    chosen = os.environ.get(name, ENVIRONMENT_DEFAULTS[name])
    is_default = chosen == ENVIRONMENT_DEFAULTS[name]
    with _environment(name, UPLOAD_TIMEOUT_SECONDS if is_default else chosen):
        yield


@contextlib.contextmanager
def uri_in_environment() -> Iterator[None]:
    """Set `MLFLOW_TRACKING_URI`, for calls with which MLflow ignores the client's address."""
    with _environment("MLFLOW_TRACKING_URI", tracking_uri()):
        yield


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
def quiet() -> Iterator[None]:
    """Silence what MLflow and its libraries warn each other about; no user can act on it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


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
    lines = _without_password(str(error)).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"


def _without_password(text: str) -> str:
    return re.sub(r"://[^/@\s]*@", "://", text)


def experiment_id(store: Store, name: str) -> str:
    """Return the experiment's id; it is created where missing and restored where deleted."""
    from mlflow.exceptions import MlflowException

    found = store.client.get_experiment_by_name(name)
    if found is None:
        location = None
        if store.artifacts is not None:
            location = (store.artifacts / re.sub(r"[^\w.-]", "_", name)).as_uri()
        try:
            return str(store.client.create_experiment(name, location, EXPERIMENT_TAGS))
        except MlflowException:  # another process was faster
            found = store.client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        store.client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def find_run(store: Store, execution: str) -> Any | None:
    """Return the one run of an execution, or None; further ones are deleted."""
    runs = runs_of(store, execution)
    for surplus in runs[1:]:
        store.client.set_tag(surplus.info.run_id, "duplicate_of", runs[0].info.run_id)
        store.client.delete_run(surplus.info.run_id)
    return runs[0] if runs else None


def runs_of(store: Store, execution: str) -> list[Any]:
    """Return the runs of an execution: most metrics first, the earliest first among equals.

    A slow server creates a run again at every repeated request, so there can be several.
    """
    experiments = [found.experiment_id for found in store.client.search_experiments()]
    query = f"tags.{EXECUTION_TAG} = '{execution}'"
    runs = store.client.search_runs(experiments, query) if experiments else []
    return sorted(runs, key=lambda run: (-len(run.data.metrics), run.info.start_time))


def _open(uri: str) -> MlflowClient:
    with quiet():
        from mlflow import MlflowClient

        registry_uri = os.environ.get("MLFLOW_REGISTRY_URI", uri)
        client = MlflowClient(tracking_uri=uri, registry_uri=registry_uri)
        client.search_experiments(max_results=1)
    return client
