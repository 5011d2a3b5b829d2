"""What this process may use of the machine: cores, memory, GPUs."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

CORES_SHARED_BY: Final = "KNEE_CORES_SHARED_BY"  # in the environment of a stage: so many stages
MEMORY_SHARED_BY: Final = "KNEE_MEMORY_SHARED_BY"
GROUP_LIMITS: Final = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


def cores() -> int:
    """Return the number of cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def memory_bytes() -> int:
    """Return the machine's memory, or the limit of this process's group where that is less."""
    import psutil

    limits = []
    for file in GROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(Path(file).read_text(encoding="ascii")))
    return min(psutil.virtual_memory().total, *limits, 1 << 62)


def shared_by(name: str) -> int:
    """Return how many stages share the machine's cores or memory: 1, unless told otherwise.

    `name` is that of the environment's variable that tells: CORES_SHARED_BY or MEMORY_SHARED_BY.
    """
    said = os.environ.get(name, "")
    return max(1, int(said)) if said.isdecimal() else 1


def gpus() -> list[Path]:
    """Return the device files of NVIDIA's GPUs, unless all are hidden from this process."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return []
    return sorted(Path("/dev").glob("nvidia[0-9]*"))
