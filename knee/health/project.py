"""The project as DVC sees it; the only module that opens DVC's repository."""

from __future__ import annotations

import contextlib
import json
import logging
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knee.health.processes import alive, lock_holder
from knee.health.result import HealthError

LOCK, GUARD = "lock", "rwlock"  # in .dvc/tmp
EXPERIMENTS, SITE_CACHE = "exps", "site_cache"  # folders there


@dataclass(frozen=True)
class Output:
    """What dvc.lock says of an output.

    Attributes:
        path: in the workspace.
        md5: of its content; ends in ".dir" for a folder.
        size_bytes: of all its files.
        stage: that makes it.
    """

    path: Path
    md5: str
    size_bytes: int
    stage: str

    @property
    def is_folder(self) -> bool:
        """Whether the object lists files."""
        return self.md5.endswith(".dir")


@dataclass(frozen=True)
class Step:
    """A stage of the pipeline: the words of its command, and the parameters it last ran with."""

    name: str
    words: tuple[str, ...]
    parameters: Mapping[str, Any]

    def flag(self, name: str) -> str:
        """The word after a flag of the command, or ""."""
        return dict(zip(self.words, self.words[1:], strict=False)).get(name, "")


@dataclass(frozen=True)
class Project:
    """Where things lie, and DVC's own handle on them."""

    root: Path
    temporary: Path  # .dvc/tmp
    cache: Path  # .dvc/cache/files/md5, or wherever cache.dir says
    repository: Any = field(repr=False)

    def shown(self, path: Path) -> str:
        """A path as a person in the project's root would type it."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)

    def outputs(self) -> list[Output]:
        """Outputs that dvc.lock records and DVC caches."""
        return [
            Output(
                path=Path(found.fs_path),
                md5=str(found.hash_info.value),
                size_bytes=int((found.meta.size if found.meta else 0) or 0),
                stage=stage.addressing,
            )
            for stage in self._stages()
            for found in stage.outs
            if found.hash_info and found.use_cache and found.is_in_repo
        ]

    def steps(self) -> list[Step]:
        """The stages of dvc.yaml as params.yaml resolves it."""
        return [
            Step(stage.addressing, tuple(shlex.split(str(stage.cmd or ""))), _parameters(stage))
            for stage in self._stages()
        ]

    def at_work(self) -> str:
        """Who works on the project now, for a message; "" if nobody does."""
        for file in self._lock_files():
            holder = lock_holder(file)
            if holder is not None:
                return f"process {holder or '?'} holds {self.shown(file)}"
        copies = [copy / ".dvc" / "tmp" / GUARD for copy in self.copies()]
        for file in [*self.guards(), *(copy for copy in copies if copy.is_file())]:
            for pid, command in _guarding(file):
                if alive(pid, file.stat().st_mtime):
                    return f"process {pid} ({command[:60]}) is listed in {self.shown(file)}"
        return ""

    def guards(self) -> list[Path]:
        """DVC's lists of who reads and writes what: the pipeline's and the experiments'."""
        found = [self.temporary / GUARD, self.temporary / EXPERIMENTS / GUARD]
        return [file for file in found if file.is_file()]

    def copies(self) -> list[Path]:
        """Copies of the project in which DVC runs temporary and queued experiments."""
        folder = self.temporary / EXPERIMENTS
        found = [*folder.glob("tmp*"), *folder.glob("standalone/tmp*")]
        return sorted(path for path in found if path.is_dir())

    def _lock_files(self) -> list[Path]:
        """Files of .dvc/tmp that DVC or a stage may hold a lock on."""
        apart = {EXPERIMENTS, SITE_CACHE}
        tops = [path for path in sorted(self.temporary.glob("*")) if path.name not in apart]
        inside = [file for top in tops if top.is_dir() for file in top.rglob("*")]
        return [file for file in [*tops, *inside] if file.is_file()]

    def _stages(self) -> list[Any]:
        with _errors_of_dvc("the pipeline cannot be read"):
            return list(self.repository.index.stages)


def open_project(root: Path) -> Project:
    """The DVC project of `root`.

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
def only_errors(*loggers: str | None) -> Iterator[None]:
    """Hear nothing below an error of these loggers (None: of all that set no level) meanwhile."""
    before = {name: logging.getLogger(name).level for name in loggers}
    try:
        for name in loggers:
            logging.getLogger(name).setLevel(logging.ERROR)
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def listed(guard: Path) -> dict[str, Any]:
    """The content of a guard; `HealthError` if it is not what DVC writes."""
    try:
        values = json.loads(guard.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HealthError(f"{guard} cannot be read: {error}") from error
    values = values if isinstance(values, dict) else {"read": None}
    lists = {name: values.get(name, {}) for name in ("read", "write")}
    if not all(isinstance(found, dict) for found in lists.values()):
        raise HealthError(f"{guard} does not hold what DVC writes there")
    return lists


def _guarding(guard: Path) -> list[tuple[int, str]]:
    try:
        values = listed(guard)
    except HealthError:
        return []
    infos = [info for held in values["read"].values() for info in held]
    infos += list(values["write"].values())
    return [(int(info["pid"]), str(info["cmd"])) for info in infos if info]


def _parameters(stage: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for dependency in stage.deps:
        recorded = dependency.hash_info.value if dependency.hash_info else None
        if isinstance(recorded, dict):
            values |= recorded
    return values


@contextlib.contextmanager
def _errors_of_dvc(doing: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # DVC, YAML, Git: each has its own
        lines = [line for line in str(error).splitlines() if line.strip()] or [""]
        raise HealthError(f"{doing}: {lines[0][:300]}") from error
