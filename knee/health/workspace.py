"""Outputs in the workspace that differ from dvc.lock although `dvc status` calls them up to date.

DVC hashes a file once and then trusts its inode, size and time: a flipped bit is not seen.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from knee.health.cache import files_of, md5_of, md5_of_all, place
from knee.health.project import Output, Project, only_errors
from knee.health.result import Result, plural

WORKSPACE = "outputs"


def check_workspace(project: Project, outputs: Sequence[Output], *, mend: bool) -> Result:
    """Every output's files hashed again; with `mend`, silently changed ones are replaced.

    What `dvc status` shows as changed is a person's work in progress, and no fault.
    """
    wanted = {
        path: md5
        for output in outputs
        for path, md5 in (files_of(output, project.cache) or {}).items()
        if path.is_file()
    }
    differing = [path for path, md5 in md5_of_all(wanted, "hashing outputs") if md5 != wanted[path]]
    silent = [path for path in differing if _trusted(project, path, wanted[path])]
    seen = len(differing) - len(silent)
    note = f"; {plural(seen, 'file')} changed, as `dvc status` shows" if seen else ""
    if not silent:
        return Result(WORKSPACE, "ok", f"{plural(len(wanted), 'file')}, hashed again{note}")
    names = tuple(project.shown(path) for path in silent)
    saying = f"{plural(len(silent), 'file')} changed, which DVC does not see{note}"
    if not mend:
        remedy = "make doctor MEND=1 restores them from the cache, or has DVC see the change"
        return Result(WORKSPACE, "fault", saying, remedy, names)
    for path in silent:
        os.utime(path)  # DVC hashes it again
    _check_out(project, [path for path in silent if _sound(project, wanted[path])])
    left = [path for path in silent if md5_of(path) != wanted[path]]
    again = f"; `dvc repro` makes {len(left)} again" if left else ""
    restored = len(silent) - len(left)
    return Result(WORKSPACE, "mended", f"{saying}: {restored} restored{again}", names=names)


def _trusted(project: Project, path: Path, md5: str) -> bool:
    """Whether DVC's state calls a file's MD5 `md5`, so that it will not be hashed again."""
    _, known = project.repository.state.get(str(path), project.repository.fs)
    return known is not None and known.value == md5


def _sound(project: Project, md5: str) -> bool:
    return md5_of(place(project.cache, md5)) == md5


def _check_out(project: Project, paths: Sequence[Path]) -> None:
    if paths:
        with only_errors("dvc"):
            project.repository.checkout([str(path) for path in paths], force=True)
