"""What computes here, and which engine will be used for what."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path
from typing import Literal

from knee.classifier.features.engines import EngineError, choose
from knee.health.result import Result, size

MACHINE, ENGINE = "machine", "engine"
CPUINFO = Path("/proc/cpuinfo")
FLAGS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_bf16": "AVX-512 bfloat16",
    "amx_bf16": "AMX bfloat16",
}
GROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
LEAST_MEMORY_BYTES = 4e9  # TensorFlow, a backbone and a batch of 16


def check_machine() -> Result:
    """Cores, memory, instructions and GPUs."""
    import psutil

    memory = min([psutil.virtual_memory().total, *_limits()])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = _gpus()
    parts = [
        f"{cores} cores",
        f"{size(memory)} of memory",
        ", ".join(instructions()) or platform.machine(),
        f"{len(gpus)} GPUs" if gpus else "no GPU",
    ]
    if memory < LEAST_MEMORY_BYTES:
        remedy = f"training needs about {size(LEAST_MEMORY_BYTES)}: add memory, or lift its limit"
        return Result(MACHINE, "fault", ", ".join(parts), remedy)
    return Result(MACHINE, "ok", ", ".join(parts))


def check_engine(
    engine: Literal["auto", "tensorflow", "openvino"],
    precision: Literal["auto", "float32", "bfloat16"],
) -> Result:
    """What `embed.engine` and `embed.precision` mean here; TensorFlow is not started for it."""
    if _gpus() and engine != "openvino":
        saying = "TensorFlow on the GPU embeds and trains, if it is built for it"
        return Result(ENGINE, "ok", f"{saying} (`make GPU=1 setup`)")
    try:
        chosen = choose(engine, precision)
    except EngineError as error:
        return Result(ENGINE, "fault", str(error), "change embed.engine or embed.precision")
    except ImportError as error:
        return Result(ENGINE, "fault", f"OpenVINO cannot be loaded: {error}", "make clean setup")
    versions = ", ".join(f"{name} {version}" for name, version in chosen.versions.items())
    return Result(ENGINE, "ok", f"{chosen.name} in {chosen.precision} embeds ({versions})")


def instructions() -> list[str]:
    """Those of the processor that matter here."""
    with contextlib.suppress(OSError):
        for line in CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("flags"):
                present = set(line.split(":", 1)[1].split())
                return [name for flag, name in FLAGS.items() if flag in present]
    return []


def _gpus() -> list[Path]:
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return []
    return sorted(Path("/dev").glob("nvidia[0-9]*"))


def _limits() -> list[int]:
    """Memory limits of this process's group, in bytes."""
    found = []
    for file in GROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):
            found.append(int(Path(file).read_text(encoding="ascii")))
    return found
