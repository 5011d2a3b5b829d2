"""What the machine can do, and what a process costs."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
GEMM_SIDE, GEMM_REPEATS = 3072, 6
POLL_SECONDS = 0.05


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
    start, peak = time.perf_counter(), 0.0
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as output,
        subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(environment or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        while process.poll() is None:
            peak = max(peak, _peak_megabytes(process.pid))
            time.sleep(POLL_SECONDS)
        seconds = time.perf_counter() - start
        if process.returncode:
            output.seek(0)
            raise SystemExit(f"{' '.join(arguments)}\n{output.read()}")
    return Cost(seconds, peak)


class Watch:
    """The largest resident memory of a process that somebody else waits for."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._peak = 0.0
        threading.Thread(target=self._poll, daemon=True).start()

    def _poll(self) -> None:
        while (now := _peak_megabytes(self._process)) or not self._peak:
            self._peak = max(self._peak, now)
            time.sleep(POLL_SECONDS)

    def cost(self, start: float) -> Cost:
        """Since `start`, by time.perf_counter."""
        return Cost(round(time.perf_counter() - start, 1), round(self._peak, 1))


def _peak_megabytes(process: int) -> float:
    """The kernel's high-water mark; rusage would count what the parent held when it forked."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    marks = [float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")]
    return marks[0] if marks else 0.0
