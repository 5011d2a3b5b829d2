"""Temporary files and copies of the project that killed processes left behind."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from knee.health.cache import files_of
from knee.health.processes import files_in_use
from knee.health.project import Output, Project, Step
from knee.health.result import Result, plural, size

LEFTOVERS = "temporary files"
OLD_SECONDS = 3600  # a younger one may belong to a process that we may not look at
OURS = re.compile(r"\..+\.(tmp|staged|partial)(\.\w+)?|\.staged")
DVCS = re.compile(r"\.[\w.-]+\.tmp")


def check_leftovers(
    project: Project,
    outputs: Sequence[Output],
    steps: Sequence[Step],
    waiting: Path,
    *,
    mend: bool,
    old_seconds: float = OLD_SECONDS,
) -> Result:
    """Old temporary files that no process has open; with `mend` they are removed.

    Args:
        project: the project.
        outputs: what dvc.lock records; a file that it lists is never a leftover.
        steps: the stages; temporary files lie beside and in the folders of their commands.
        waiting: folder of the runs that wait for MLflow.
        mend: remove them.
        old_seconds: age of the newest file in it, from which on it is old.
    """
    recorded = {path for output in outputs for path in files_of(output, project.cache) or {}}
    found = sorted(set(_candidates(project, outputs, steps, waiting)) - recorded)
    used = files_in_use()
    stray = [path for path in found if _old(path, old_seconds) and not _in_use(path, used)]
    if not stray:
        young = f"{plural(len(found), 'younger one')} left alone" if found else "none"
        return Result(LEFTOVERS, "ok", young)
    total = sum(file.stat().st_size for path in stray for file in _files(path))
    saying = f"{len(stray)} left behind, {size(total)}"
    names = tuple(project.shown(path) for path in stray)
    if not mend:
        return Result(LEFTOVERS, "fault", saying, "make doctor MEND=1 removes them", names)
    for path in stray:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return Result(LEFTOVERS, "mended", f"{saying}: removed", names=names)


def _candidates(
    project: Project, outputs: Sequence[Output], steps: Sequence[Step], waiting: Path
) -> Iterator[Path]:
    for pattern in ("[0-9a-f][0-9a-f]/.*", ".*"):
        yield from (path for path in project.cache.glob(pattern) if DVCS.fullmatch(path.name))
    yield from project.copies()
    yield from waiting.glob(".*")
    for folder in sorted(_folders(project, outputs, steps)):
        yield from (path for path in folder.iterdir() if OURS.fullmatch(path.name))


def _folders(project: Project, outputs: Sequence[Output], steps: Sequence[Step]) -> set[Path]:
    """Folders that stages write to: those of outputs, and others that only commands name."""
    written = {project.root / word for step in steps for word in step.words if "/" in word}
    written |= {output.path for output in outputs}
    inputs = {project.root / step.flag("--images") for step in steps if step.flag("--images")}
    inputs -= {output.path for output in outputs}
    written -= inputs  # a person's own films
    folders = {path.parent for path in written if path.parent.is_relative_to(project.root)}
    for path in written:
        if path.is_dir() and path.is_relative_to(project.root):
            folders |= {path, *(inner for inner in path.rglob("*") if inner.is_dir())}
    return {folder for folder in folders if folder.is_dir() and folder != project.root}


def _files(path: Path) -> Iterable[Path]:
    return (file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _old(path: Path, seconds: float) -> bool:
    newest = max((file.lstat().st_mtime for file in [path, *_files(path)]), default=0.0)
    return time.time() - newest > seconds


def _in_use(path: Path, used: set[Path]) -> bool:
    return any(file == path or path in file.parents for file in used)
