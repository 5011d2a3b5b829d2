"""Checks of hardware, the engine, Python, and the packages against their pins."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from knee.classifier.features.engines import EngineError, choose
from knee.execution import hardware
from knee.health.result import HealthError, Result, plural, size

CPUINFO = Path("/proc/cpuinfo")
FLAGS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_bf16": "AVX-512 bfloat16",
    "amx_bf16": "AMX bfloat16",
}
LEAST_MEMORY_BYTES = 4e9  # TensorFlow, a backbone and a batch of 16


def check_machine() -> Result:
    """Check cores, memory, instructions and GPUs."""
    memory, gpus = hardware.memory_bytes(), hardware.gpus()
    parts = [
        f"{hardware.cores()} cores",
        f"{size(memory)} of memory",
        ", ".join(instructions()) or platform.machine(),
        f"{len(gpus)} GPUs" if gpus else "no GPU",
    ]
    if memory < LEAST_MEMORY_BYTES:
        remedy = f"training needs about {size(LEAST_MEMORY_BYTES)}: add memory, or lift its limit"
        return Result("fault", ", ".join(parts), remedy)
    return Result("ok", ", ".join(parts))


def check_engine(
    engine: Literal["auto", "tensorflow", "openvino"],
    precision: Literal["auto", "float32", "bfloat16"],
) -> Result:
    """Resolve `embed.engine` and `embed.precision` on this machine, without starting TensorFlow."""
    if hardware.gpus() and engine != "openvino":
        saying = "TensorFlow on the GPU embeds and trains, if it is built for it"
        return Result("ok", f"{saying} (`make GPU=1 setup`)")
    try:
        chosen = choose(engine, precision)
    except EngineError as error:
        return Result("fault", str(error), "change embed.engine or embed.precision")
    except ImportError as error:
        return Result("fault", f"OpenVINO cannot be loaded: {error}", "make clean setup")
    versions = ", ".join(f"{name} {version}" for name, version in chosen.versions.items())
    return Result("ok", f"{chosen.name} in {chosen.precision} embeds ({versions})")


def check_packages(locks: Sequence[Path]) -> Result:
    """Compare the installed packages to the lock that fits best (processors or GPUs)."""
    found = {lock: pins(lock) for lock in locks if lock.is_file()}
    if not found:
        return Result("fault", "there is no requirements.txt", "restore it from git")
    differing = {lock: drift(pinned) for lock, pinned in found.items()}
    best = min(differing, key=lambda lock: len(differing[lock]))
    names = tuple(differing[best])
    if names:
        saying = f"{plural(len(names), 'package')} of {len(found[best])} unlike {best.name}"
        return Result("fault", saying, "`make clean setup` installs the pins", names)
    return Result("ok", f"{len(found[best])} as {best.name} pins them")


def check_python(project_file: Path) -> Result:
    """Compare this interpreter's version to `requires-python`."""
    try:
        wanted = tomllib.loads(project_file.read_text(encoding="utf-8"))["project"]
        versions = SpecifierSet(wanted["requires-python"])
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise HealthError(f"{project_file.name} does not say which Python it needs") from error
    here = platform.python_version()
    if not versions.contains(here, prereleases=True):
        remedy = "make PYTHON=python3.12 clean setup"
        return Result("fault", f"{here}, but {versions} is needed", remedy)
    return Result("ok", f"{here} ({versions} is needed)")


def pins(lock: Path) -> dict[str, str]:
    """Return name -> pinned version, of the lines that hold for this machine and Python.

    Raises:
        HealthError: a line is no pin.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(lock.read_text(encoding="utf-8").splitlines(), 1):
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
    """Return the differences from the pins, as "name 1.2, pinned 1.3"."""
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


def instructions() -> list[str]:
    """Return the instruction sets of the processor that make embedding fast."""
    try:
        flags = re.search(r"^flags\s*:(.*)", CPUINFO.read_text(errors="replace"), re.MULTILINE)
    except OSError:
        return []
    present = flags[1].split() if flags else []
    return [name for flag, name in FLAGS.items() if flag in present]
