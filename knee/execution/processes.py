"""The place of work that is other processes of this machine.

A net of a few rows is not trained faster by a second core, and a whole MobileNet on two cores only
1.3 times as fast as on one; two of them side by side are (docs/log.md). What a process is asked and
answers goes through its pipes alone, so that nothing but the project unpickles it.

    python -m knee.execution.processes
"""

from __future__ import annotations

import logging
import os
import pickle  # nosec B403
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Self

from knee.execution import hardware
from knee.execution.place import Result, Value, WorkerLost
from knee.run import parameters, worker
from knee.run.worker import Worker, WorkerError

COMMAND: Final = ("-m", "knee.execution.processes")
START_SECONDS: Final = 600.0  # on a busy machine
LOST: Final = "its process ended: was it killed, or is the memory too small for execution.processes"


def count(settings: parameters.Execution, process_bytes: float) -> int:
    """Return how many processes the section `execution` asks for; 0: work in this one.

    With "auto" as many as cores, and processes of `process_bytes` of memory, the machine has for
    this stage, which may share it with others. A single one would only cost its start.
    """
    if settings.processes != "auto":
        return settings.processes
    cores = hardware.cores() // hardware.shared_by(hardware.CORES_SHARED_BY)
    memory = hardware.memory_bytes() / hardware.shared_by(hardware.MEMORY_SHARED_BY)
    most = min(cores, int(memory // process_bytes))
    return most if most > 1 else 0


class Processes:
    """Processes that do one task at a time each; they start when first needed."""

    in_process = False
    has_files = True

    def __init__(self, count: int, retries: int = 0) -> None:
        """Take how many tasks are done at once."""
        self.window, self.retries = 2 * count, retries
        self._threads = ThreadPoolExecutor(count)  # each waits for one process
        self._own = threading.local()
        self._all: list[Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for one in self._all:
            one.process.kill()
        self._threads.shutdown(cancel_futures=True)
        for one in self._all:
            one.end()

    def submit(self, task: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Begin `task(*arguments)` in a process."""
        return self._threads.submit(self._do, pickle.dumps((task, arguments)))

    def share(self, value: Value) -> Value:
        """Return `value` itself: it travels with each task."""
        return value

    def _do(self, question: bytes) -> Any:
        try:
            answer = self._worker().ask(question, threading.TIMEOUT_MAX)
        except WorkerError:
            self._own.worker = None
            raise WorkerLost(LOST) from None
        result, error = pickle.loads(answer)  # noqa: S301  # nosec B301  # of our own process
        if error:
            raise error
        return result

    def _worker(self) -> Worker:
        """The process of this thread."""
        own: Worker | None = getattr(self._own, "worker", None)
        if own is None:
            own = self._own.worker = Worker(COMMAND, START_SECONDS)
            self._all.append(own)
        return own


def _answer(question: bytes) -> bytes:
    """Do a task, in the process."""
    task, arguments = pickle.loads(question)  # noqa: S301  # nosec B301  # of our parent
    try:
        return pickle.dumps((task(*arguments), None))
    except Exception as error:  # it is the task's, and raised where that was submitted
        error.add_note(traceback.format_exc())
        return pickle.dumps((None, error))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format=f"process {os.getpid()}: %(message)s")
    worker.serve(lambda: _answer)
