"""A `dvc repro` that is watched, and that may be killed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, cast

import psutil

RUNNING = re.compile(r"Running stage '([^']+)'")
DONE = re.compile(r"Updating lock file")


class Run:
    """A `dvc repro` under way, and the stages that it has begun and finished, with their times."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.started = time.monotonic()
        self.begun: list[str] = []
        self.finished: dict[str, float] = {}
        self.output = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro"],
            cwd=folder,
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.started

    @property
    def ended(self) -> bool:
        """Whether dvc has ended."""
        return self._process.poll() is not None

    def stage(self) -> str:
        """What is running: a stage, or dvc itself."""
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self._process.pid).children():
                found = child.environ().get("DVC_STAGE")
                if found:
                    return found
        return "dvc itself"

    def wait(self) -> int:
        """The exit status, once it has ended by itself."""
        code = self._process.wait()
        self._reader.join(60)
        return code

    def kill(self, kind: str) -> None:
        """End it in one of the ways of `KINDS`."""
        KINDS[kind](self._process.pid)
        self._process.wait()

    def _read(self) -> None:
        with cast(IO[str], self._process.stdout) as lines:
            for line in lines:
                self.output += line
                begun = RUNNING.search(line)
                if begun:
                    self.begun.append(begun[1])
                elif DONE.search(line) and self.begun:
                    self.finished[self.begun[-1]] = self.seconds


KINDS = {
    "SIGKILL to all": lambda pid: os.killpg(pid, signal.SIGKILL),
    "SIGKILL to dvc": lambda pid: os.kill(pid, signal.SIGKILL),
    "SIGTERM to all": lambda pid: os.killpg(pid, signal.SIGTERM),
}
