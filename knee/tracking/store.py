"""The store of runs: its address, the connection, and errors when it does not answer.

The default is an SQLite file in the project's root with a folder of artifacts beside it;
`MLFLOW_TRACKING_URI` names a server instead. Waiting for a server is bounded. MLflow writes
absolute addresses of artifacts into the file: in a project that was moved or copied they are
rewritten when the store is opened. No message shows a password.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import re
import sqlite3
import urllib.parse
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

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
ATTEMPTS = 5  # at what other processes write, too
CONFLICTS = ("BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST")  # the same row twice; a row that has gone
SQLITE_SECONDS = 20.0  # MLflow's own patience with a locked file
EXPERIMENT_PREFIX = "knee-bone-health-"  # of the project's experiments and their folders
# Folders of artifacts that this project made, wherever it was then; Default's is MLflow's choice.
OWN_ARTIFACTS = re.compile(rf"(?:file://)?/.*?/(mlartifacts/{EXPERIMENT_PREFIX}[^/]+|mlruns/0)")
READDRESSED = (
    "update experiments set artifact_location = :new where artifact_location = :old",
    "update runs set artifact_uri = :new || substr(artifact_uri, length(:old) + 1) "
    "where substr(artifact_uri, 1, length(:old) + 1) = :old || '/'",
    "update logged_models set artifact_location = :new || substr(artifact_location, "
    "length(:old) + 1) where substr(artifact_location, 1, length(:old) + 1) = :old || '/'",
    "update model_versions set storage_location = :new || substr(storage_location, "
    "length(:old) + 1) where substr(storage_location, 1, length(:old) + 1) = :old || '/'",
)
LOCAL_SCHEMES = ("sqlite", "file", "")  # their addresses hold no password
ADDRESSES = ("MLFLOW_REGISTRY_URI", "MLFLOW_TRACKING_URI")  # the second one's password counts
SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
SHORTEST_SECRET = 4  # letters; fewer would blot out parts of ordinary words

T = TypeVar("T")
logger = logging.getLogger(__name__)


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
    return os.environ.get("MLFLOW_TRACKING_URI") or _own_uri()


def _own_uri() -> str:
    return f"sqlite:///{project_root() / 'mlflow.db'}"


def shown_uri() -> str:
    """Return the tracking URI without user, password and query, for messages."""
    scheme, separator, rest = tracking_uri().partition("://")
    if scheme.lower() in LOCAL_SCHEMES:
        return tracking_uri()
    return scheme + separator + rest.rpartition("@")[2].partition("?")[0]


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
    """Set MLflow's waiting times and switches, except where the user set them.

    Raises:
        TrackingError: a server's address has a password in a form that libraries misread.
    """
    for name, value in ENVIRONMENT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    for name in ADDRESSES:
        _move_password(name)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # names every retry


def _move_password(name: str) -> None:
    """Move user and password of an address into MLflow's variables for them.

    MLflow prints the address of a run, and errors of HTTP libraries quote addresses.
    """
    scheme, _, rest = os.environ.get(name, "").strip().partition("://")
    credentials, at, server = rest.rpartition("@")
    if not at or scheme.lower() in LOCAL_SCHEMES:
        return
    over_http = scheme.lower() in ("http", "https")
    if re.search(r"[/?#]" if over_http else r"[/?#@\s]", credentials):
        raise TrackingError(
            f"{name}: an @ follows a / ? # or another @: write such letters of a password as %2F "
            "%3F %23 %40 and blanks as %20, or give MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD instead"
        )
    if over_http:
        user, colon, password = credentials.partition(":")
        os.environ["MLFLOW_TRACKING_USERNAME"] = urllib.parse.unquote(user)
        if colon:
            os.environ["MLFLOW_TRACKING_PASSWORD"] = urllib.parse.unquote(password)
        os.environ[name] = f"{scheme}://{server}"


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


@contextlib.contextmanager
def tolerated(code: str) -> Iterator[None]:
    """Pass over MLflow's refusals of this code: another process has done it already."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != code:
            raise


def repeated(work: Callable[[], T]) -> T:
    """Return what `work` returns; it is done again where another process wrote the same row."""
    from mlflow.exceptions import MlflowException

    for _ in range(ATTEMPTS - 1):
        try:
            return work()
        except MlflowException as error:
            if error.error_code not in CONFLICTS:
                raise
    return work()


def brief(error: Exception) -> str:
    """Return type and first line of an error, at most 200 characters, without a password."""
    lines = (line for line in without_secrets(str(error)).splitlines() if line.strip())
    return f"{type(error).__name__}: {next(lines, '')[:200]}"


def without_secrets(text: str) -> str:
    """Return `text` without the passwords and tokens of the environment, however written."""
    given = [os.environ.get(name, "") for name in SECRETS]
    for name in ADDRESSES:
        scheme, _, rest = os.environ.get(name, "").partition("://")
        given += [] if scheme.lower() in LOCAL_SCHEMES else [rest.rpartition("@")[0]]
    user = os.environ.get("MLFLOW_TRACKING_USERNAME", "")
    login = base64.b64encode(f"{user}:{given[0]}".encode()).decode("ascii")
    for secret in (login, *given, *(one.partition(":")[2] for one in given)):
        forms = {secret.strip(), urllib.parse.quote(secret, safe=""), urllib.parse.unquote(secret)}
        for form in sorted(forms, key=len, reverse=True):
            if len(form) >= SHORTEST_SECRET:
                text = text.replace(form, "***")
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
    if uri == _own_uri():
        _readdress(project_root())
    return client


def _readdress(root: Path) -> None:
    """Point the addresses of the project's own artifacts in its SQLite file to `root`.

    Where the project was renamed, copied or restored elsewhere, they name the place it was made:
    its artifacts are not found, and a copy would write into its original. All of them change in
    one transaction; other addresses stay.
    """
    address = f"{(root / 'mlflow.db').as_uri()}?mode=rw"
    connection = sqlite3.connect(address, uri=True, timeout=SQLITE_SECONDS, isolation_level=None)
    with contextlib.closing(connection) as database:
        if not _moved(database, root):
            return
        database.execute("begin immediate")
        moved = _moved(database, root)  # another process may have been faster
        for change in moved:
            for statement in READDRESSED:
                database.execute(statement, change)
        database.execute("commit")
    for change in moved:
        if "/mlartifacts/" in change["new"]:
            logger.info("the project has moved: %(old)s in mlflow.db is now %(new)s", change)


def _moved(database: sqlite3.Connection, root: Path) -> list[dict[str, str]]:
    """The project's own folders of artifacts that have moved, as recorded and as they are now."""
    recorded = database.execute("select distinct artifact_location from experiments").fetchall()
    changes = []
    for (old,) in recorded:
        if (own := OWN_ARTIFACTS.fullmatch(old or "")) is not None:
            here = root.as_uri() if old.startswith("file:") else str(root)
            changes.append({"old": old, "new": f"{here}/{own[1]}"})
    return [change for change in changes if change["old"] != change["new"]]
