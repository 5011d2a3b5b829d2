"""MLflow's store: readable, with this MLflow's tables, no run left open, none waiting."""

from __future__ import annotations

import contextlib
import datetime
import importlib.util
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from knee.health.result import HealthError, Result, plural
from knee.tracking.pending import waiting_folders
from knee.tracking.processes import close_stale_runs, is_alive
from knee.tracking.publishing import replay_pending
from knee.tracking.store import TrackingError, connect, shown_uri, tracking_uri

STORE, RUNS, WAITING = "store of runs", "runs left open", "runs that wait"
SQLITE = "sqlite:///"
LOCKED_SECONDS = 5.0
OPEN_RUNS = """
select runs.run_uuid, tags.key, tags.value from runs
left join tags on tags.run_uuid = runs.run_uuid
    and tags.key in ('host', 'pid', 'process_started', 'mlflow.runName')
where runs.status = 'RUNNING' and runs.lifecycle_stage = 'active'
"""
Tags = dict[str, str]


def check_store(*, mend: bool) -> Result:
    """The SQLite file is whole and has the tables of the installed MLflow; a server answers."""
    file = _file()
    if file is None:
        return _server()
    if not file.exists():
        return Result(STORE, "ok", "none yet: the first run makes it (or `make setup`)")
    with _reading(file) as database:
        damage = str(database.execute("pragma quick_check(1)").fetchone()[0])
        if damage != "ok":
            raise HealthError(f"{file.name} is damaged ({damage}): {_restoring(file)}")
        tables = database.execute("select name from sqlite_master where type = 'table'")
        if ("alembic_version",) not in tables.fetchall():
            raise HealthError(f"{file.name} is no store of MLflow: {_restoring(file)}")
        revision = str(database.execute("select version_num from alembic_version").fetchone()[0])
    newest, known = _migrations()
    if revision == newest:
        return Result(STORE, "ok", f"{file.name} is whole, with the tables of this MLflow")
    if revision not in known:
        saying = f"{file.name} has the tables of another MLflow ({revision})"
        return Result(STORE, "fault", saying, "`make clean setup` installs the pinned one")
    saying = f"{file.name} has the tables of an earlier MLflow ({revision})"
    if not mend:
        return Result(STORE, "fault", saying, "make doctor MEND=1 keeps a copy and upgrades it")
    copy = _upgrade(file)
    return Result(STORE, "mended", f"{saying}: upgraded; what was before is {copy.name}")


def check_runs(*, mend: bool) -> Result:
    """Runs called RUNNING of a process on this machine that has ended."""
    file = _file()
    if file is not None and not file.exists():
        return Result(RUNS, "ok", "none")
    running = _open_runs() if file is None else _open_rows(file)
    here = socket.gethostname()
    stale = [
        tags
        for tags in running
        if tags.get("host") == here
        and not is_alive(tags.get("pid", ""), tags.get("process_started", ""))
    ]
    if not stale:
        others = f"; {len(running)} are at work" if running else ""
        return Result(RUNS, "ok", f"none{others}")
    names = tuple(
        f"{tags.get('mlflow.runName', tags['id'])} (process {tags.get('pid')})" for tags in stale
    )
    saying = f"{plural(len(stale), 'run')} RUNNING whose process has ended"
    if not mend:
        remedy = "make doctor MEND=1 closes them as KILLED, and so does the next training"
        return Result(RUNS, "fault", saying, remedy, names)
    closed = close_stale_runs(connect())
    return Result(RUNS, "mended", f"{saying}: {closed} closed as KILLED", names=names)


def check_waiting(*, mend: bool) -> Result:
    """Finished trainings that MLflow has not got yet."""
    waiting = waiting_folders()
    if not waiting:
        return Result(WAITING, "ok", "none")
    names = tuple(folder.name for folder in waiting)
    saying = f"{plural(len(waiting), 'finished training')} not in MLflow yet"
    if not mend:
        return Result(WAITING, "fault", saying, "make replay", names)
    written = replay_pending()
    left = tuple(folder.name for folder in waiting_folders())
    if left:
        remedy = f"make replay, once {shown_uri()} answers; its messages name what is damaged"
        return Result(WAITING, "fault", f"{saying}; {written} written", remedy, left)
    return Result(WAITING, "mended", f"{saying}: {written} written", names=names)


def _file() -> Path | None:
    """The SQLite file, or None where runs are kept elsewhere."""
    uri = tracking_uri()
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def _server() -> Result:
    try:
        connect()
    except TrackingError as error:
        remedy = "start it, or mend MLFLOW_TRACKING_URI; until then runs wait in pending_runs"
        return Result(STORE, "fault", str(error), remedy)
    return Result(STORE, "ok", f"{shown_uri()} answers")


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[sqlite3.Connection]:
    """The database; whatever SQLite says becomes a `HealthError`."""
    address = f"{file.resolve().as_uri()}?mode=rw"  # a crash's journal is rolled back first
    try:
        with contextlib.closing(
            sqlite3.connect(address, uri=True, timeout=LOCKED_SECONDS)
        ) as database:
            yield database
    except sqlite3.OperationalError as error:
        remedy = "end what holds it, then run the doctor again"
        raise HealthError(f"{file.name} cannot be opened ({error}): {remedy}") from error
    except sqlite3.DatabaseError as error:
        raise HealthError(f"{file.name} is damaged ({error}): {_restoring(file)}") from error


def _restoring(file: Path) -> str:
    return (
        f"restore a backup; or move {file.name} away, `make setup`, and `dvc repro --force "
        "register` writes the present models' runs again from their files"
    )


def _open_rows(file: Path) -> list[Tags]:
    """Tags of the runs that are open, by SQL: importing MLflow takes seconds."""
    found: dict[str, Tags] = {}
    with _reading(file) as database:
        for run_id, key, value in database.execute(OPEN_RUNS):
            found.setdefault(run_id, {"id": run_id})[str(key)] = str(value)
    return list(found.values())


def _open_runs() -> list[Tags]:
    """The same of a server."""
    client = connect().client
    experiments = [found.experiment_id for found in client.search_experiments()]
    query = "attributes.status = 'RUNNING'"
    runs = client.search_runs(experiments, query) if experiments else []
    return [{"id": run.info.run_id, **run.data.tags} for run in runs]


def _migrations() -> tuple[str, set[str]]:
    """The newest revision of tables of the installed MLflow, and all; read, not imported."""
    package = importlib.util.find_spec("mlflow")
    if package is None or package.origin is None:
        raise HealthError("MLflow is not installed: make setup")
    folder = Path(package.origin).parent / "store" / "db_migrations" / "versions"
    before, known = set(), set()
    for file in folder.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        found = dict(re.findall(r'^(revision|down_revision)(?:: [^=]+)? = "(\w+)"', text, re.M))
        known.add(found.get("revision", ""))
        before.add(found.get("down_revision", ""))
    newest = known - before - {""}
    if len(newest) != 1:
        raise HealthError(f"MLflow's migrations in {folder} have {len(newest)} ends, not one")
    return newest.pop(), known


def _upgrade(file: Path) -> Path:
    """Copy the file beside itself, then have MLflow upgrade it; returns the copy."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    copy = file.with_name(f"{file.name}.before-{now}")
    shutil.copy2(file, copy)
    command = [sys.executable, "-m", "mlflow", "db", "upgrade", tracking_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        shutil.copy2(copy, file)
        last = (done.stderr.strip().splitlines() or [""])[-1]
        raise HealthError(f"{file.name} could not be upgraded and is as before: {last[:200]}")
    return copy
