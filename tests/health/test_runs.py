"""The doctor's questions about MLflow's store."""
# ruff: noqa: F811  # `root` is a fixture

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from knee import tracking
from knee.health import runs as stored_runs
from knee.health.result import HealthError, guarded
from knee.tracking import live, store
from tests.tracking.conftest import away, root  # noqa: F401
from tests.tracking.runs import only_run, runs, write_project, write_training


def test_an_empty_store_is_healthy() -> None:
    assert stored_runs.check_store().status == "ok"
    assert stored_runs.check_runs().found == "none"
    assert stored_runs.check_missing().found == "no training is finished"


def test_no_store_yet_is_no_fault(root: Path) -> None:
    (root / "mlflow.db").unlink()
    assert stored_runs.check_store().status == "ok"
    assert stored_runs.check_runs().status == "ok"
    assert not (root / "mlflow.db").exists()


@pytest.mark.parametrize("kind", ["journal", "wal", "shm"])
def test_the_journal_of_a_store_that_moved_away_is_named(root: Path, kind: str) -> None:
    (root / f"mlflow.db-{kind}").write_bytes(b"x")
    (root / "mlflow.db").unlink()
    found = stored_runs.check_store()
    assert found.status == "fault"
    assert found.found.startswith(f"mlflow.db-{kind} without mlflow.db")


def test_the_advice_to_move_a_damaged_store_names_its_journals(root: Path) -> None:
    (root / "mlflow.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(HealthError, match=r"away with mlflow\.db-journal, -wal and -shm"):
        stored_runs.check_store()
    (root / "mlflow.db-wal").write_bytes(b"x")
    with pytest.raises(HealthError, match=r"away with mlflow\.db-wal, "):
        stored_runs.check_store()


def test_the_newest_migration_is_the_one_that_mlflow_makes(root: Path) -> None:
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as database:
        made = database.execute("select version_num from alembic_version").fetchone()[0]
    newest, known = stored_runs._migrations()
    assert newest == made
    assert len(known) > 30


@pytest.mark.parametrize(
    "content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\1" * 5000]
)
def test_a_file_that_is_no_database_is_said_and_kept(root: Path, content: bytes) -> None:
    (root / "mlflow.db").write_bytes(content)
    found = guarded(stored_runs.check_store, mend=True)
    assert found.status == "fault"
    assert "mlflow.db is damaged" in found.found
    assert "backup" in found.found
    assert (root / "mlflow.db").read_bytes() == content


def test_a_page_of_noise_is_found(root: Path) -> None:
    with (root / "mlflow.db").open("r+b") as file:
        file.seek(4096 * 20)
        file.write(os.urandom(4096 * 20))
    with pytest.raises(HealthError, match="damaged"):
        stored_runs.check_store()


def test_another_database_is_no_store(root: Path) -> None:
    (root / "mlflow.db").unlink()
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as database:
        database.execute("create table x (y)")
    with pytest.raises(HealthError, match="no store of MLflow"):
        stored_runs.check_store()


def set_revision(root: Path, revision: str) -> None:
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as database:
        database.execute("update alembic_version set version_num = ?", (revision,))
        database.commit()


def test_tables_of_an_unknown_mlflow_are_not_touched(root: Path) -> None:
    set_revision(root, "f" * 12)
    found = guarded(stored_runs.check_store, mend=True)
    assert found.status == "fault"
    assert "another MLflow" in found.found


def test_tables_of_an_earlier_mlflow_are_upgraded_with_a_copy_kept(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest, known = stored_runs._migrations()
    set_revision(root, min(known - {newest, ""}))
    before = (root / "mlflow.db").read_bytes()
    found = stored_runs.check_store()
    assert found.status == "fault"
    assert "an earlier MLflow" in found.found
    assert (root / "mlflow.db").read_bytes() == before

    def upgrade(command: list[str], **_: object) -> Done:
        assert command[1:] == ["-m", "mlflow", "db", "upgrade", store.tracking_uri()]
        set_revision(root, newest)
        return Done(0)

    monkeypatch.setattr("subprocess.run", upgrade)
    assert guarded(stored_runs.check_store, mend=True).status == "mended"
    copies = list(root.glob("mlflow.db.before-*"))
    assert [copy.read_bytes() for copy in copies] == [before]


def test_an_upgrade_that_fails_leaves_the_store_as_it_was(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest, known = stored_runs._migrations()
    set_revision(root, min(known - {newest, ""}))
    before = (root / "mlflow.db").read_bytes()

    def fail(*_: object, **__: object) -> Done:
        (root / "mlflow.db").write_bytes(b"half")
        return Done(1)

    monkeypatch.setattr("subprocess.run", fail)
    found = guarded(stored_runs.check_store, mend=True)
    assert found.status == "fault"
    assert "is as before: disk full" in found.found
    assert (root / "mlflow.db").read_bytes() == before


class Done:
    def __init__(self, returncode: int) -> None:
        self.returncode, self.stderr = returncode, "trace\ndisk full\n"


def test_a_locked_store_is_said_after_a_bounded_wait(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_runs, "LOCKED_SECONDS", 0.1)
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as database:
        database.execute("begin exclusive")
        with pytest.raises(HealthError, match=r"cannot be opened \(database is locked\)"):
            stored_runs.check_store()


def dead_process() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_runs_of_dead_processes_are_named_and_closed() -> None:
    client = store.connect()
    here, dead, parent = socket.gethostname(), dead_process(), os.getppid()
    started = f"{live.process_start(parent):.2f}"
    tags = {
        "dead": {"host": here, "pid": str(dead), "process_started": "1.00"},
        "alive": {"host": here, "pid": str(parent), "process_started": started},
        "elsewhere": {"host": "another-machine", "pid": str(dead)},
        "somebody's": {},
    }
    for name, values in tags.items():
        client.create_run("0", tags=values, run_name=name)
    found = stored_runs.check_runs()
    assert (found.status, found.names) == ("fault", (f"dead (process {dead})",))
    assert guarded(stored_runs.check_runs, mend=True).status == "mended"
    statuses = {run.info.run_name: run.info.status for run in runs()}
    assert [name for name, status in statuses.items() if status == "KILLED"] == ["dead"]
    assert stored_runs.check_runs().found == "none"


def test_finished_trainings_that_mlflow_has_not_got_are_named_and_written(root: Path) -> None:
    write_project(root, "mobilenet")
    found = stored_runs.check_missing()
    assert (found.status, found.names) == ("fault", ("of-mobilenet",))
    assert found.remedy.startswith("make replay")
    assert guarded(stored_runs.check_missing, mend=True).status == "mended"
    assert only_run().data.tags["execution"] == "of-mobilenet"
    assert stored_runs.check_missing().found == "none"
    (root / "models" / "mobilenet" / "training.json").write_text("{")
    left = guarded(stored_runs.check_missing, mend=True)
    assert left.status == "fault"
    assert "training.json" in left.found


@pytest.mark.usefixtures("away")
def test_a_server_that_does_not_answer_is_a_fault_without_its_password() -> None:
    found = stored_runs.check_store()
    assert found.status == "fault"
    assert "opening the store failed" in found.found
    assert "secret" not in found.found
    with pytest.raises(tracking.TrackingError):
        stored_runs.check_runs()


def test_damaged_and_missing_files_of_registered_versions_are_named(
    root: Path, tmp_path: Path
) -> None:
    assert stored_runs.check_registered().found == "0 versions, whole"
    registry = tracking.Registry("knee")
    for execution in ("a", "b", "c", "d"):
        evidence = tracking.collect(*write_training(tmp_path / execution, execution=execution))
        run_id = tracking.require_published(evidence)
        registry.add(run_id, execution, evidence.own_tags, "text")
    assert stored_runs.check_registered().found == "4 versions, whole"
    models = {}
    for number in "1234":
        uri = store.connect().get_model_version_download_uri("knee", number)
        models[number] = Path(uri.removeprefix("file://"))
    damage(models["1"] / "artifacts" / "model.keras")
    shutil.rmtree(models["2"])
    (record,) = (
        file
        for file in root.rglob("artifacts/training.json")
        if json.loads(file.read_text()).get("execution") == "c"
    )
    record.write_text(record.read_text().replace("Osteoporosis", "Osteopenia"))
    found = stored_runs.check_registered()
    assert (found.status, found.found) == ("fault", "3 of 4 damaged")
    assert {name[:17] for name in found.names} == {f"version {n} of knee" for n in "123"}


def damage(file: Path) -> None:
    """Flip a bit."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
