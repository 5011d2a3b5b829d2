"""Faults that are planted into a project."""

from __future__ import annotations

import os
from pathlib import Path

from knee.health.project import Project


def flip_a_bit(path: Path) -> None:
    """As a disk does it: neither size nor time nor mode change."""
    facts = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(content)
    path.chmod(facts.st_mode)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def dvc_is_content(project: Project) -> bool:
    """Whether `dvc status`, asked anew, shows nothing."""
    from dvc.repo import Repo

    with Repo(str(project.root)) as repository:
        return bool(repository.status() == {})
