"""Where runs are kept, and what importing and waiting costs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from knee.tracking import store


def test_the_default_store_is_sqlite_in_the_project_root(root: Path) -> None:
    assert store.tracking_uri() == f"sqlite:///{root}/mlflow.db"


def test_a_queued_experiments_copy_uses_the_main_checkouts_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "standalone" / "tmpabc"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert store.project_root() == tmp_path
    monkeypatch.delenv("DVC_ROOT")
    assert store.project_root() == tmp_path
    monkeypatch.setenv("DVC_ROOT", str(copy))
    assert store.project_root() == tmp_path


def test_without_dvc_the_working_directory_is_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert store.project_root() == tmp_path


def test_environment_of_the_user_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    store.prepare_environment()
    with store.patient_upload():
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"


def test_a_new_store_gets_no_journal_of_one_that_was_moved_away(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "mlflow.db").unlink()
    names = ("mlflow.db-journal", "mlflow.db-wal", "mlflow.db-shm")
    for name in (*names, "mlflow.db.new-journal"):
        (root / name).write_bytes(b"old")

    def whole(uri: str) -> None:
        path = Path(uri.removeprefix("sqlite:///"))
        assert not store.journals(path)
        path.write_bytes(b"whole")

    monkeypatch.setattr(store, "_open", whole)
    store.connect()
    assert sorted(file.name for file in root.glob("mlflow.db*")) == sorted(
        ["mlflow.db", *(f"{name}.left" for name in names)]
    )


def test_importing_tracking_starts_neither_mlflow_nor_tensorflow() -> None:
    code = "import sys, knee.tracking; print({'mlflow', 'tensorflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_kill_while_the_tables_are_made_leaves_no_half_store(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "mlflow.db").unlink()

    def killed(uri: str) -> None:
        Path(uri.removeprefix("sqlite:///")).write_bytes(b"half")
        raise KeyboardInterrupt

    def whole(uri: str) -> None:
        path = Path(uri.removeprefix("sqlite:///"))
        if path.name == "mlflow.db.new":
            assert not path.exists()
            path.write_bytes(b"whole")

    monkeypatch.setattr(store, "_open", killed)
    with pytest.raises(KeyboardInterrupt):
        store.connect()
    assert not (root / "mlflow.db").exists()
    monkeypatch.setattr(store, "_open", whole)
    store.connect()
    assert (root / "mlflow.db").read_bytes() == b"whole"
