"""Installed packages against the pins, and Python against what the project asks for."""

from __future__ import annotations

import importlib.metadata
import platform
import tomllib
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from knee.health.result import HealthError, Result, plural

PACKAGES, PYTHON = "packages", "Python"


def pins(lock: Path) -> dict[str, str]:
    """Name -> pinned version, of the lines that hold for this machine and Python.

    Raises:
        HealthError: the file is missing or a line is no pin.
    """
    try:
        lines = lock.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise HealthError(f"{lock} cannot be read: {error.strerror}") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        words = line.strip().removesuffix("\\").strip()
        if not words or words.startswith(("#", "--")):
            continue
        try:
            pin = Requirement(words)
        except InvalidRequirement as error:
            raise HealthError(f"{lock.name}, line {number}: {words[:60]!r} is no pin") from error
        if pin.marker is None or pin.marker.evaluate():
            found[str(canonicalize_name(pin.name))] = str(pin.specifier).removeprefix("==")
    return found


def drift(pinned: dict[str, str]) -> list[str]:
    """What differs from the pins: "name 1.2, pinned 1.3"."""
    differing = []
    for name, version in sorted(pinned.items()):
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            differing.append(f"{name} is not installed, pinned {version}")
            continue
        if installed != version:
            differing.append(f"{name} {installed}, pinned {version}")
    return differing


def check_packages(locks: Sequence[Path]) -> Result:
    """The installed packages against that of the locks which fits best (processors or GPUs)."""
    found = {lock: pins(lock) for lock in locks if lock.is_file()}
    if not found:
        return Result(PACKAGES, "fault", "there is no requirements.txt", "restore it from git")
    differing = {lock: drift(pinned) for lock, pinned in found.items()}
    best = min(differing, key=lambda lock: len(differing[lock]))
    names = tuple(differing[best])
    if names:
        saying = f"{plural(len(names), 'package')} of {len(found[best])} unlike {best.name}"
        return Result(PACKAGES, "fault", saying, "`make clean setup` installs the pins", names)
    return Result(PACKAGES, "ok", f"{len(found[best])} as {best.name} pins them")


def check_python(project_file: Path) -> Result:
    """This interpreter's version against `requires-python`."""
    try:
        wanted = tomllib.loads(project_file.read_text(encoding="utf-8"))["project"]
        versions = SpecifierSet(wanted["requires-python"])
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise HealthError(f"{project_file.name} does not say which Python it needs") from error
    here = platform.python_version()
    if not versions.contains(here, prereleases=True):
        remedy = "make PYTHON=python3.12 clean setup"
        return Result(PYTHON, "fault", f"{here}, but {versions} is needed", remedy)
    return Result(PYTHON, "ok", f"{here} ({versions} is needed)")
