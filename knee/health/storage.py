"""Checks of DVC's cache, remotes and site cache."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from knee.health.project import Project
from knee.health.result import Result, plural, size

CACHE, REMOTES, SITE_CACHE = "cache objects", "remotes", "DVC's site cache"
OBJECT = re.compile(r"[0-9a-f]{30}(\.dir)?")
READERS = min(8, os.cpu_count() or 1)  # hashing lets other threads run
PROGRESS: dict[str, Any] = {"desc": "hashing the cache", "leave": False, "disable": None}
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
LEVELS = ("local", "repo", "global", "system")  # of DVC's configuration, the nearest first


def check_cache(project: Project, *, mend: bool) -> Result:
    """Hash every object of DVC's cache; with `mend`, remove those that are not what they are named.

    DVC names an object by its content's MD5 and trusts any whose mode is 0444.
    """
    found = [
        file
        for file in sorted(project.cache.glob("[0-9a-f][0-9a-f]/*"))
        if OBJECT.fullmatch(file.name) and file.is_file()
    ]
    with ThreadPoolExecutor(READERS) as pool:
        digests = pool.map(md5_of, found)
        damaged = [
            file
            for file, md5 in zip(found, tqdm(digests, total=len(found), **PROGRESS), strict=True)
            if f"{file.parent.name}{file.name}".removesuffix(".dir") != md5
        ]
    if not damaged:
        total = size(sum(file.stat().st_size for file in found))
        return Result(CACHE, "ok", f"{plural(len(found), 'object')}, {total}, hashed again")
    names = tuple(project.shown(file) for file in damaged)
    saying = f"{plural(len(damaged), 'object')} of {len(found)} damaged on the disk, or unreadable"
    again = "`dvc commit` (if the workspace has them), `dvc pull` or `dvc repro` brings them back"
    if not mend:
        remedy = f"make doctor MEND=1 removes them; then {again}"
        return Result(CACHE, "fault", saying, remedy, names)
    for file in damaged:
        file.unlink()
    return Result(CACHE, "mended", f"{saying}: removed; {again}", names=names)


def md5_of(file: Path) -> str | None:
    """Return the MD5 of a file in hexadecimal, or None if it cannot be read."""
    digest = partial(hashlib.md5, usedforsecurity=False)
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, digest).hexdigest()
    except OSError:
        return None


def check_remotes(project: Project, *, mend: bool) -> Result:
    """Check that every remote has `verify true`: else DVC takes what comes from it unhashed."""
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
    """Check that nobody else may write to DVC's site cache: DVC unpickles what lies there.

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
    """The highest folder that others may write to, of `folder` and those on the way to it."""
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
