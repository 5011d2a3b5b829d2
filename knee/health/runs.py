"""MLflow's store: readable, with this MLflow's tables, no run left open, none missing."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from knee.health.result import HealthError, Result, plural
from knee.tracking import store
from knee.tracking.live import close_stale_runs, stale_runs
from knee.tracking.publishing import finished, missing, replay
from knee.tracking.registry import TO_RESTORE, fetch_model
from knee.tracking.store import (
    EXECUTION_TAG,
    TrackingError,
    connect,
    shown_uri,
    tracking_uri,
)

SQLITE = "sqlite:///"
LOCKED_SECONDS = 5.0


def check_store() -> Result:
    """Check the SQLite file and its tables, or that a server answers."""
    file = _file()
    if file is None:
        try:
            connect()
        except TrackingError as error:
            start = "start it, or mend MLFLOW_TRACKING_URI"
            return Result("fault", str(error), f"{start}; `make replay` then writes the runs")
        return Result("ok", f"{shown_uri()} answers")
    if not file.exists():
        if left := [journal.name for journal in store.journals(file)]:
            saying = f"{' and '.join(left)} without {file.name}: the rest of a store moved away"
            return Result("fault", saying, f"move it to where {file.name} is now")
        return Result("ok", "none yet: the first run makes it (or `make setup`)")
    revision = _revision(file)
    newest, known = _migrations()
    if revision == newest:
        return Result("ok", f"{file.name} is whole, with the tables of this MLflow")
    if revision not in known:
        saying = f"{file.name} has the tables of another MLflow ({revision})"
        return Result("fault", saying, "`make clean setup` installs the pinned one")
    saying = f"{file.name} has the tables of an earlier MLflow ({revision})"
    remedy = "make doctor MEND=1 keeps a copy and upgrades it"
    return Result("fault", saying, remedy, mending=partial(_upgrade, file))


def check_runs() -> Result:
    """Look for runs called RUNNING of a process of this machine that has ended."""
    file = _file()
    if file is not None and not file.exists():
        return Result("ok", "none")
    client = connect()
    stale = stale_runs(client)
    if not stale:
        return Result("ok", "none")
    return Result(
        "fault",
        f"{plural(len(stale), 'run')} RUNNING whose process has ended",
        "make doctor MEND=1 closes them as KILLED, and so does the next training",
        tuple(f"{run.info.run_name} (process {run.data.tags['pid']})" for run in stale),
        lambda: f"{close_stale_runs(client)} closed as KILLED",
    )


def check_registered() -> Result:
    """Check that the files of every registered version are there, as they were registered.

    A server's versions are left to their loading, which checks them, too.
    """
    file = _file()
    if file is None:
        return Result("ok", f"kept by {shown_uri()}, checked when they are loaded")
    versions = connect().search_model_versions() if file.exists() else []
    own = [entry for entry in versions if EXECUTION_TAG in entry.tags]
    faults = []
    for entry in own:
        with tempfile.TemporaryDirectory() as folder:
            try:
                fetch_model(f"models:/{entry.name}/{entry.version}", Path(folder))
            except TrackingError as error:
                faults.append(str(error).partition("; ")[0])
    if not faults:
        return Result("ok", f"{plural(len(own), 'version')}, whole")
    return Result("fault", f"{len(faults)} of {len(own)} damaged", TO_RESTORE, tuple(faults))


def check_missing() -> Result:
    """Look for finished trainings of the project whose figures MLflow has not got."""
    if not finished():
        return Result("ok", "no training is finished")
    names = tuple(missing())
    if not names:
        return Result("ok", "none")
    return Result(
        "fault",
        f"{plural(len(names), 'finished training')} not in MLflow yet",
        "make replay; it says what is in the way",
        names,
        lambda: "written" if replay() else "",
    )


def _file() -> Path | None:
    """The SQLite file, or None where runs are kept elsewhere."""
    uri = tracking_uri()
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def _revision(file: Path) -> str:
    """The revision of MLflow's tables in the SQLite file, which has to be whole."""
    address = f"{file.resolve().as_uri()}?mode=rw"  # a crash's journal is rolled back first
    restore = (
        f"restore a backup; or move {file.name} away with {_beside(file)}, `make setup`, and "
        "`dvc repro --force register` writes the present models' runs again from their files"
    )
    try:
        with contextlib.closing(
            sqlite3.connect(address, uri=True, timeout=LOCKED_SECONDS)
        ) as database:
            damage = str(database.execute("pragma quick_check(1)").fetchone()[0])
            if damage != "ok":
                raise sqlite3.DatabaseError(damage)
            tables = database.execute("select name from sqlite_master where type = 'table'")
            if ("alembic_version",) not in tables.fetchall():
                raise HealthError(f"{file.name} is no store of MLflow: {restore}")
            return str(database.execute("select version_num from alembic_version").fetchone()[0])
    except sqlite3.OperationalError as error:
        remedy = "end what holds it, then run the doctor again"
        raise HealthError(f"{file.name} cannot be opened ({error}): {remedy}") from error
    except sqlite3.DatabaseError as error:
        raise HealthError(f"{file.name} is damaged ({error}): {restore}") from error


def _beside(file: Path) -> str:
    """The journals of an SQLite file, by name: it plays them into whatever takes its place."""
    found = [journal.name for journal in store.journals(file)]
    return " and ".join(found or [f"{file.name}-journal, -wal and -shm (none is there now)"])


def _migrations() -> tuple[str, set[str]]:
    """The newest revision of tables of the installed MLflow, and all; read, not imported."""
    package = importlib.metadata.distribution("mlflow")
    folder = Path(str(package.locate_file("mlflow/store/db_migrations/versions")))
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


def _upgrade(file: Path) -> str:
    """Copy the file beside itself, then have MLflow upgrade it; say where the copy is."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    copy = file.with_name(f"{file.name}.before-{now}")
    shutil.copy2(file, copy)  # whole: `_revision` has rolled a crash's journal back
    command = [sys.executable, "-m", "mlflow", "db", "upgrade", tracking_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        for journal in store.journals(file):  # of the upgrade that failed
            journal.unlink()
        shutil.copy2(copy, file)
        last = (done.stderr.strip().splitlines() or [""])[-1]
        raise HealthError(f"{file.name} could not be upgraded and is as before: {last[:200]}")
    return f"upgraded; what was before is {copy.name}"
