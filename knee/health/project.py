"""The project as DVC sees it; the only module that opens DVC's repository."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knee.health.result import HealthError
from knee.run import locks

LOCK_FILES = ("lock", "stages/*.lock")  # in .dvc/tmp: of DVC, and of a stage at work
COPIES = ("exps/tmp*", "exps/standalone/tmp*")  # there too: of queued and temporary experiments


@dataclass(frozen=True)
class Output:
    """An output of a stage.

    Attributes:
        path: in the workspace.
        size_bytes: of all its files, as dvc.lock records it; 0 if it does not.
        stage: that makes it.
    """

    path: Path
    size_bytes: int
    stage: str


@dataclass(frozen=True)
class Project:
    """The places of a project, and DVC's own handle on them."""

    root: Path
    temporary: Path  # .dvc/tmp
    cache: Path  # .dvc/cache/files/md5, or wherever cache.dir says
    repository: Any = field(repr=False)

    def shown(self, path: Path) -> str:
        """Return a path as a person in the project's root would type it."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)

    def outputs(self) -> list[Output]:
        """Return the outputs of the pipeline that DVC caches.

        Raises:
            HealthError: dvc.yaml or dvc.lock cannot be read.
        """
        with _errors_of_dvc("the pipeline cannot be read (`make repro` mends dvc.lock)"):
            return [
                Output(Path(out.fs_path), int((out.meta and out.meta.size) or 0), stage.addressing)
                for stage in self.repository.index.stages
                for out in stage.outs
                if out.use_cache and out.is_in_repo
            ]

    def at_work(self) -> str:
        """Return who works on the project now, for a message; "" if nobody does."""
        copies = [copy / ".dvc" / "tmp" for place in COPIES for copy in self.temporary.glob(place)]
        for folder in [self.temporary, *copies]:
            for file in (file for name in LOCK_FILES for file in folder.glob(name)):
                if (pid := locks.holder(file)) is not None:
                    return f"process {pid or '?'} holds {self.shown(file)}"
        return ""


def open_project(root: Path) -> Project:
    """Open the DVC project of `root`.

    Raises:
        HealthError: there is none, or its configuration cannot be read.
    """
    with _errors_of_dvc(f"{root} is no DVC project that can be opened"):
        from dvc.repo import Repo

        repository = Repo(str(root))
        return Project(
            root=Path(repository.root_dir),
            temporary=Path(repository.tmp_dir),
            cache=Path(repository.cache.local.path),
            repository=repository,
        )


@contextlib.contextmanager
def _errors_of_dvc(doing: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # DVC, YAML, Git: each has its own
        lines = [line for line in str(error).splitlines() if line.strip()] or [""]
        raise HealthError(f"{doing}: {lines[0][:300]}") from error
