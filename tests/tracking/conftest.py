"""A real SQLite store for every test, and a server that does not answer."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from knee import tracking
from knee.tracking.evidence import Evidence
from tests.tracking.runs import own_store, write_training


@pytest.fixture(autouse=True)
def root(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A project's root with a store of its own."""
    own_store(tmp_path, tmp_path_factory.getbasetemp(), monkeypatch)
    return tmp_path


@pytest.fixture
def away(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, where MLflow is a server that does not answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://somebody:secret@127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    return root


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    return tracking.collect(*write_training(tmp_path / "work"))
