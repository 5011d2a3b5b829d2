"""What the machine can do, and what a process costs."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
GEMM_SIDE, GEMM_REPEATS = 3072, 6


@dataclass(frozen=True)
class Cost:
    """Of one command.

    Attributes:
        seconds: wall time, start of the interpreter included.
        peak_megabytes: largest resident memory.
    """

    seconds: float
    peak_megabytes: float


def describe() -> dict[str, Any]:
    """Processor, cores and load, for the head of every result."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text(encoding="utf-8").splitlines() if cpu.is_file() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "load_before": [round(value, 2) for value in os.getloadavg()],
        "python": platform.python_version(),
    }


def gemm_gigaflops() -> float:
    """The best of some float32 matrix products: what the machine reaches at all."""
    matrix = np.random.default_rng(0).random((GEMM_SIDE, GEMM_SIDE), np.float32)
    best = float("inf")
    for _ in range(GEMM_REPEATS):
        start = time.perf_counter()
        matrix @ matrix
        best = min(best, time.perf_counter() - start)
    return 2 * GEMM_SIDE**3 / best / 1e9


def run(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Run `python -m ARGUMENTS` in the project's root; its output is shown if it fails."""
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        output = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)}\n{output}")
    return Cost(time.perf_counter() - start, usage.ru_maxrss / 1024)
