"""Whether another machine computes the same bits: versions and a small trial, compared."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
from collections.abc import Callable, Iterable, Mapping
from typing import Final

PACKAGES: Final = (
    *("imagehash", "keras", "numpy", "openvino", "pillow", "pydicom", "python-gdcm", "scipy"),
    "tensorflow",
)
OTHER_NAMES: Final = {"tensorflow": ("tensorflow", "tensorflow-cpu")}  # of distributions


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a machine's results depend on."""

    versions: Mapping[str, str]
    trial: str  # digest of a trial's results


def facts(trial: Callable[[], str]) -> Facts:
    """Return those of this machine; `trial` does a small piece of the work and digests it."""
    versions = {name: _version(OTHER_NAMES.get(name, (name,))) for name in PACKAGES}
    return Facts({"python": platform.python_version(), **versions}, trial())


def difference(ours: Facts, theirs: Facts) -> str:
    """Return in what `theirs` differ from `ours`, "" where in nothing."""
    others = [
        f"{name} {theirs.versions.get(name, 'missing')} and not {version}"
        for name, version in ours.versions.items()
        if theirs.versions.get(name) != version
    ]
    if not others and theirs.trial != ours.trial:
        others = ["other bits from the same work: another kind of processor"]
    return ", ".join(others)


def _version(distributions: Iterable[str]) -> str:
    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "missing"
