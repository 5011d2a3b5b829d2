"""Worker processes that read mutated files side by side, each under a limit of time and memory."""

from __future__ import annotations

import contextlib
import json
import queue
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import psutil

from benchmarks.machine import ROOT

LINES: Final = 30  # of a worker's last words
POLL_SECONDS: Final = 5.0
Answer = dict[str, Any]


@dataclass(frozen=True)
class Bounds:
    """What one file may cost.

    Attributes:
        seconds: of processor time, the decoding process' too, until the worker is killed; or ten
            times as long on the clock.
        megabytes: largest resident memory of the worker, and of the process that decodes for it.
        megapixels: ingest's limit on an image.
    """

    seconds: float
    megabytes: float
    megapixels: float


def failure(answer: Answer, bounds: Bounds) -> str:
    """Why an answer is one, "" if it is none."""
    if "error" in answer:
        return str(answer["error"])
    memory = max(answer["megabytes"], answer["decoder_megabytes"])
    return f"memory of {memory:.0f} MB" if memory > bounds.megabytes else ""


def answers(seeds: Sequence[int], corpora: Path, bounds: Bounds, workers: int) -> Iterator[Answer]:
    """One for each of `seeds`, in the order in which they are ready."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    ready: queue.SimpleQueue[Answer | BaseException] = queue.SimpleQueue()
    for seed in seeds:
        waiting.put(seed)
    threads = [
        threading.Thread(target=_serve, args=(waiting, ready, corpora, bounds), daemon=True)
        for _ in range(workers)
    ]
    for thread in threads:
        thread.start()
    for _ in seeds:
        answer = ready.get()
        if isinstance(answer, BaseException):
            raise answer
        yield answer
    for thread in threads:
        thread.join()


def _serve(
    waiting: queue.SimpleQueue[int],
    ready: queue.SimpleQueue[Answer | BaseException],
    corpora: Path,
    bounds: Bounds,
) -> None:
    """One worker after the other, until no seed waits."""
    worker: _Worker | None = None
    try:
        while True:
            try:
                seed = waiting.get_nowait()
            except queue.Empty:
                break
            worker = worker or _Worker(corpora, bounds)
            answer = worker.ask(seed)
            if answer is None:
                answer = {"seed": seed, "error": worker.last_words(), "crashed": True}
                worker.end()
                worker = None
            ready.put(answer)
    except BaseException as error:  # the harness itself: for the thread that waits
        ready.put(error)
    if worker:
        worker.end()


class _Worker:
    """One process of `hostile_worker`."""

    def __init__(self, corpora: Path, bounds: Bounds) -> None:
        self._seconds = bounds.seconds
        self._late = False
        self._told: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        module = "benchmarks.hostile_files.worker"
        options = [f"--corpora={corpora}", f"--megapixels={bounds.megapixels}"]
        self._process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", module, *options],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._told,
        )

    def ask(self, seed: int) -> Answer | None:
        """What came of it; None if the process broke down or took too long."""
        asked, told = self._process.stdin, self._process.stdout
        if asked is None or told is None:
            return None
        try:
            asked.write(f"{seed}\n".encode())
            asked.flush()
        except OSError:
            return None
        start, used = time.monotonic(), self._processor_seconds()
        while not select.select([told], [], [], POLL_SECONDS)[0]:
            spent = self._processor_seconds() - used
            if spent > self._seconds or time.monotonic() - start > 10 * self._seconds:
                self._late = True
                return None
        line = told.readline()
        answer: Answer | None = json.loads(line) if line.endswith(b"\n") else None
        return answer

    def _processor_seconds(self) -> float:
        """Of the worker and of what decodes for it now; on a busy machine the clock says little."""
        with contextlib.suppress(psutil.Error):
            worker = psutil.Process(self._process.pid)
            times = [one.cpu_times() for one in (worker, *worker.children())]
            return float(sum(one.user + one.system for one in times))
        return 0.0

    def last_words(self) -> str:
        """How it ended."""
        if self._late:
            return f"no answer within {self._seconds:g} s"
        code = self._process.wait(timeout=10)
        self._told.seek(0)
        text = self._told.read().decode("utf-8", "replace").splitlines()[-LINES:]
        return f"worker ended with {code}: " + " | ".join(text)

    def end(self) -> None:
        """End the process, which is idle or gone, and forget what it printed."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=0 if self._late else 10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._told.close()
