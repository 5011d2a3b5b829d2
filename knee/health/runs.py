"""MLflow's store: readable, with this MLflow's tables, no run left open, none missing."""

from __future__ import annotations

import contextlib
import datetime
import importlib.util
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from knee.health.result import HealthError, Result, plural
from knee.tracking.processes import close_stale_runs, stale_runs
from knee.tracking.publishing import finished, missing, replay
from knee.tracking.store import TrackingError, connect, shown_uri, tracking_uri

STORE, RUNS, MISSING = "store of runs", "runs left open", "trainings in MLflow"
SQLITE = "sqlite:///"
LOCKED_SECONDS = 5.0


def check_store(*, mend: bool) -> Result:
    """Check the SQLite file and its tables, or that a server answers."""
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
    """Look for runs called RUNNING of a process of this machine that has ended."""
    file = _file()
    if file is not None and not file.exists():
        return Result(RUNS, "ok", "none")
    store = connect()
    stale = stale_runs(store)
    if not stale:
        return Result(RUNS, "ok", "none")
    names = tuple(f"{run.info.run_name} (process {run.data.tags['pid']})" for run in stale)
    saying = f"{plural(len(stale), 'run')} RUNNING whose process has ended"
    if not mend:
        remedy = "make doctor MEND=1 closes them as KILLED, and so does the next training"
        return Result(RUNS, "fault", saying, remedy, names)
    closed = close_stale_runs(store)
    return Result(RUNS, "mended", f"{saying}: {closed} closed as KILLED", names=names)


def check_missing(*, mend: bool) -> Result:
    """Look for finished trainings of the project whose figures MLflow has not got."""
    if not finished():
        return Result(MISSING, "ok", "no training is finished")
    names = tuple(missing())
    if not names:
        return Result(MISSING, "ok", "none")
    saying = f"{plural(len(names), 'finished training')} not in MLflow yet"
    if mend and replay():
        return Result(MISSING, "mended", f"{saying}: written", names=names)
    return Result(MISSING, "fault", saying, "make replay; it says what stands in the way", names)


def _file() -> Path | None:
    """The SQLite file, or None where runs are kept elsewhere."""
    uri = tracking_uri()
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def _server() -> Result:
    try:
        connect()
    except TrackingError as error:
        remedy = "start it, or mend MLFLOW_TRACKING_URI; `make replay` then writes the missing runs"
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
