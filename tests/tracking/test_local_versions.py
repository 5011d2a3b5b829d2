"""A version that is not in the project's own store is told before MLflow starts."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from knee import tracking

TABLES = """
create table model_versions (name, version integer, current_stage);
create table registered_model_aliases (name, alias, version integer);
insert into model_versions values ('knees', 1, null), ('knees', 2, 'None'),
    ('knees', 3, 'Deleted_Internal');
insert into registered_model_aliases values ('knees', 'champion', 1);
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "own.db"
    with contextlib.closing(sqlite3.connect(file)) as made:
        made.executescript(TABLES)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{file}")
    return file


@pytest.mark.parametrize(
    ("name", "number", "message"),
    [
        ("knees", "3", "^knees has no version 3: it has 2, 1 \\(champion\\)$"),
        ("elbows", "1", "^elbows has no version 1: there is none yet; `make repro` trains"),
    ],
)
def test_a_version_that_is_not_there_is_told_with_those_that_are(
    store: Path, name: str, number: str, message: str
) -> None:
    assert store.exists()
    with pytest.raises(tracking.TrackingError, match=message):
        tracking.check_version(name, number)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:////nowhere/mlflow.db"])
def test_what_cannot_be_looked_into_is_left_to_mlflow(
    store: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking.check_version("knees", "2")
    store.write_bytes(b"no database")
    tracking.check_version("knees", "9")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    tracking.check_version("knees", "9")
