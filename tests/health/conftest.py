"""A small DVC project that has run once: a file, and a folder of two files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from knee.health.project import Project

PIPELINE = """
stages:
  first:
    cmd: echo one > data/one.txt
    outs: [data/one.txt]
  second:
    cmd: mkdir -p data/many && echo a > data/many/a.txt && echo b > data/many/b.txt
    deps: [data/one.txt]
    outs: [data/many]
"""


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's folder, for copying."""
    from dvc.repo import Repo

    root = tmp_path_factory.mktemp("finished") / "project"
    (root / "data").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("DVC_SITE_CACHE_DIR", raising=False)
        Repo.init(str(root), no_scm=True).close()
        (root / "dvc.yaml").write_text(PIPELINE)
        (root / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
        with Repo(str(root)) as repository:
            repository.reproduce()
    return root


@pytest.fixture
def root(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that DVC has looked at, with a site cache of its own."""
    copy = tmp_path / "project"
    shutil.copytree(finished, copy)
    shutil.rmtree(copy / ".dvc" / "tmp", ignore_errors=True)
    cache = copy / ".dvc" / "tmp" / "site_cache"
    cache.mkdir(parents=True)
    cache.chmod(0o700)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(cache))
    monkeypatch.chdir(copy)
    return copy


@pytest.fixture
def project(root: Path) -> Iterator[Project]:
    """The copy, opened; DVC has hashed its files and calls them up to date."""
    opened = Project(root)
    assert opened.repository.status() == {}
    yield opened
    opened.repository.close()
