"""The project as DVC sees it; the only module that opens DVC's repository."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knee.health.result import HealthError
from knee.run import dvc_notes, locks
from knee.tracking.store import brief

CHECKPOINTS = re.compile(r"--checkpoints\s+(\S+)")  # a stage's folder of unfinished work
KNOWN_RESULTS = re.compile(r"--known-results\s+(\S+)")  # of what its last run computed

OWN_SITE_CACHE = Path(".dvc/tmp/site_cache")  # as `make setup` sets it


@dataclass(frozen=True)
class Output:
    """An output of a stage, in the workspace."""

    path: Path
    size_bytes: int  # of all its files, as dvc.lock records it; 0 if it does not
    stage: str


class Project:
    """The places of a project, and DVC's own handle on them."""

    def __init__(self, root: Path) -> None:
        """Open the DVC project of `root`.

        Raises:
            HealthError: there is none, or its configuration cannot be read.
        """
        with _errors_of_dvc(f"{root} is no DVC project that can be opened"):
            from dvc.config import Config
            from dvc.repo import Repo

            core = Config(str(root / ".dvc")).get("core", {})
            self.foreign_site_cache = _of_another_place(core.get("site_cache_dir", ""), root)
            if self.foreign_site_cache is not None:  # nothing is written there
                core = {"site_cache_dir": str(root / OWN_SITE_CACHE)}
            self.repository: Any = Repo(str(root), config={"core": core})
            self.root = Path(self.repository.root_dir)
            self.temporary = Path(self.repository.tmp_dir)  # .dvc/tmp
            self.cache = Path(self.repository.cache.local.path)  # wherever cache.dir says

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

    def checkpoints(self) -> list[Path]:
        """Return the folders in which stages keep unfinished work, or raise as `outputs`."""
        return self._named(CHECKPOINTS)

    def known_results(self) -> list[Path]:
        """Return the folders in which stages keep known results, or raise as `outputs`."""
        return self._named(KNOWN_RESULTS)

    def _named(self, flag: re.Pattern[str]) -> list[Path]:
        """The folders that the stages' commands name by a flag."""
        with _errors_of_dvc("the pipeline cannot be read (`make repro` mends dvc.lock)"):
            found = (flag.findall(stage.cmd or "") for stage in self.repository.index.stages)
            return [self.root / name for names in found for name in names]

    def at_work(self) -> str:
        """Return who works on the project now, for a message; "" if nobody does."""
        for pid, file in dvc_notes.at_work(self.temporary):
            stopped = ", but is stopped (Ctrl-Z)" if locks.is_stopped(pid) else ""
            return f"process {pid or '?'} holds {self.shown(file)}{stopped}"
        return ""


def _of_another_place(configured: str, root: Path) -> Path | None:
    """The configured site cache, if it is that of a project elsewhere: of this one's original."""
    used = Path(configured)
    is_a_projects = used.parts[-len(OWN_SITE_CACHE.parts) :] == OWN_SITE_CACHE.parts
    return used if is_a_projects and used != root.resolve() / OWN_SITE_CACHE else None


@contextlib.contextmanager
def _errors_of_dvc(doing: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # DVC, YAML, Git: each has its own
        raise HealthError(f"{doing}: {brief(error)}") from error
