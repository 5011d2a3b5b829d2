"""Checks of DVC's cache, remotes and site cache, and of what ingest unpacked."""

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

from knee.health.project import OWN_SITE_CACHE, Project
from knee.health.result import Result, plural, size
from knee.intake import archives

OBJECT = re.compile(r"[0-9a-f]{30}(\.dir)?")
READERS = min(8, os.cpu_count() or 1)  # hashing lets other threads run
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
LEVELS = ("local", "repo", "global", "system")  # of DVC's configuration, the nearest first


def check_cache(project: Project) -> Result:
    """Hash every object of DVC's cache; mending removes those that are not what they are named.

    DVC names an object by its content's MD5 and trusts any whose mode is 0444.
    """
    found = [
        file
        for file in sorted(project.cache.glob("[0-9a-f][0-9a-f]/*"))
        if OBJECT.fullmatch(file.name) and file.is_file()
    ]
    with ThreadPoolExecutor(READERS) as pool:
        digests = tqdm(
            pool.map(md5_of, found), "hashing the cache", len(found), leave=False, disable=None
        )
        damaged = [
            file
            for file, md5 in zip(found, digests, strict=True)
            if f"{file.parent.name}{file.name}".removesuffix(".dir") != md5
        ]
    if not damaged:
        total = size(sum(file.stat().st_size for file in found))
        return Result("ok", f"{plural(len(found), 'object')}, {total}, hashed again")
    again = "`dvc commit` (if the workspace has them), `dvc pull` or `dvc repro` brings them back"

    def remove() -> str:
        for file in damaged:
            file.unlink()
        return f"removed; {again}"

    return Result(
        "fault",
        f"{plural(len(damaged), 'object')} of {len(found)} damaged on the disk, or unreadable",
        f"make doctor MEND=1 removes them; then {again}",
        tuple(project.shown(file) for file in damaged),
        remove,
    )


def md5_of(file: Path) -> str | None:
    """Return the MD5 of a file in hexadecimal, or None if it cannot be read."""
    digest = partial(hashlib.md5, usedforsecurity=False)
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, digest).hexdigest()
    except OSError:
        return None


def check_remotes(project: Project) -> Result:
    """Check that every remote has `verify true`: else DVC takes what comes from it unhashed."""
    config = project.repository.config
    remotes: dict[str, Any] = config.get("remote") or {}
    trusting = sorted(name for name, facts in remotes.items() if not facts.get("verify"))
    if not trusting:
        return Result("ok", f"{plural(len(remotes), 'remote')}, all verified")

    def verify() -> str:
        levels = [level for level in LEVELS if level in config.files]
        for name in trusting:
            own = (level for level in levels if name in config.load_one(level).get("remote", {}))
            with config.edit(next(own)) as values:
                values["remote"][name]["verify"] = True
        return "set"

    return Result(
        "fault",
        f"{plural(len(trusting), 'remote')} of {len(remotes)} without `verify true`",
        "make doctor MEND=1, or: dvc remote modify NAME verify true",
        tuple(trusting),
        verify,
    )


def check_unpacked() -> Result:
    """Check for archives that a killed ingest has left unpacked; mending removes them."""
    found = archives.leftovers()
    if not found:
        return Result("ok", "no archive was left unpacked")

    def remove() -> str:
        for folder in found:
            archives.remove(folder)
        return "removed"

    saying = f"{plural(len(found), 'archive')} left unpacked by a killed ingest"
    names = tuple(str(folder) for folder in found)
    return Result("fault", saying, "make doctor MEND=1 removes them", names, remove)


def check_site_cache(project: Project) -> Result:
    """Check that nobody else may write to DVC's site cache: DVC unpickles what lies there.

    A folder in the path that only its owner may enter protects what is below.
    """
    folder = Path(project.repository.site_cache_dir)
    if project.foreign_site_cache is not None:
        return _of_another_project(project, project.foreign_site_cache)
    open_to = _open_to_others(folder)
    if open_to is None:
        return Result("ok", f"{project.shown(folder.parents[1])}, writable only by us")
    shown = project.shown(open_to)
    saying = f"others may write to {shown}, and DVC unpickles what lies there"
    if not open_to.is_relative_to(project.root):
        remedy = 'dvc config --local core.site_cache_dir "$PWD/.dvc/tmp/site_cache"'
        return Result("fault", saying, f"{remedy} (or `make setup`)")

    def close() -> str:
        open_to.chmod(0o700)
        return "now only we may"

    return Result("fault", saying, f"chmod 700 {shown}", mending=close)


def _of_another_project(project: Project, used: Path) -> Result:
    """The fault that the project was moved or copied: DVC's setting names the place before."""
    config, own = project.repository.config, project.root / OWN_SITE_CACHE

    def use_own() -> str:
        own.mkdir(parents=True, exist_ok=True)
        own.chmod(0o700)
        with config.edit("local") as values:
            values["core"]["site_cache_dir"] = str(own)
        return f"now {project.shown(own)}"

    is_local = config.load_one("local").get("core", {}).get("site_cache_dir") == str(used)
    return Result(
        "fault",
        f"{used} is another project's: this one has moved, or is a copy",
        "make setup, before the next dvc command",
        mending=use_own if is_local else None,
    )


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
