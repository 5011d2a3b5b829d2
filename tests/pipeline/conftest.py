"""Projects to try things in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.project import Project, copied, finished_project


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which the tiny pipeline has run: to read and to copy, not to change."""
    return finished_project(tmp_path_factory.getbasetemp())


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project."""
    return copied(finished, tmp_path / "project")
