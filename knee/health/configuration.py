"""DVC's configuration: remotes that verify what they bring, and a cache that is ours alone."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from knee.health.project import Project
from knee.health.result import Result, plural

REMOTES, SITE_CACHE = "remotes", "DVC's site cache"
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
LEVELS = ("local", "repo", "global", "system")  # of DVC's configuration, the nearest first


def check_remotes(project: Project, *, mend: bool) -> Result:
    """Every remote has `verify true`: without it DVC takes what comes from it unhashed."""
    remotes: dict[str, Any] = project.repository.config.get("remote") or {}
    trusting = sorted(name for name, facts in remotes.items() if not facts.get("verify"))
    if not trusting:
        return Result(REMOTES, "ok", f"{plural(len(remotes), 'remote')}, all verified")
    saying = f"{plural(len(trusting), 'remote')} of {len(remotes)} without `verify true`"
    if not mend:
        remedy = "make doctor MEND=1, or: dvc remote modify NAME verify true"
        return Result(REMOTES, "fault", saying, remedy, tuple(trusting))
    for name in trusting:
        with project.repository.config.edit(_level(project, name)) as levels:
            levels["remote"][name]["verify"] = True
    return Result(REMOTES, "mended", f"{saying}: set", names=tuple(trusting))


def check_site_cache(project: Project, *, mend: bool) -> Result:
    """DVC unpickles what lies in its site cache: nobody else may write there.

    A folder in the path that only its owner may enter protects what is below.
    """
    folder = Path(project.repository.site_cache_dir)
    open_to = _open_to_others(folder)
    if open_to is None:
        return Result(SITE_CACHE, "ok", f"{project.shown(folder.parents[1])}, writable by us alone")
    saying = f"others may write to {project.shown(open_to)}, and DVC unpickles what lies there"
    if not open_to.is_relative_to(project.root):
        remedy = 'dvc config --local core.site_cache_dir "$PWD/.dvc/tmp/site_cache"'
        return Result(SITE_CACHE, "fault", saying, f"{remedy} (or `make setup`)")
    if not mend:
        return Result(SITE_CACHE, "fault", saying, f"chmod 700 {project.shown(open_to)}")
    open_to.chmod(0o700)
    return Result(SITE_CACHE, "mended", f"{saying}: now we alone may")


def _level(project: Project, remote: str) -> str:
    for level in LEVELS:
        if level in project.repository.config.files and remote in (
            project.repository.config.load_one(level).get("remote") or {}
        ):
            return level
    return "local"


def _open_to_others(folder: Path) -> Path | None:
    """The highest folder on the way to `folder`, and it itself, that others may write to."""
    found = None
    for part in [folder, *folder.parents]:
        if not part.exists():
            continue
        mode = part.stat().st_mode
        if not mode & (stat.S_IXGRP | stat.S_IXOTH):
            found = None  # nobody else gets below
        elif mode & OTHERS_WRITE and not mode & stat.S_ISVTX:
            found = part
    return found
