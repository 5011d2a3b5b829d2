"""The place of work that is this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from knee.execution.place import Result, Value


class Inline:
    """Does each task at once, in the thread that submits it."""

    window = 1
    in_process = True
    has_files = True
    retries = 0

    def submit(self, task: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Do `task(*arguments)`; what it raises is raised here."""
        future: Future[Result] = Future()
        future.set_result(task(*arguments))
        return future

    def share(self, value: Value) -> Value:
        """Return `value` itself."""
        return value


class Threads:
    """Threads of this process, one a core, for tasks that release the interpreter's lock."""

    in_process = True
    has_files = True
    retries = 0

    def __init__(self) -> None:
        cores = os.cpu_count() or 1
        self.window = 2 * cores
        self._pool = ThreadPoolExecutor(cores)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def submit(self, task: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Begin `task(*arguments)` in a thread."""
        return self._pool.submit(task, *arguments)

    def share(self, value: Value) -> Value:
        """Return `value` itself."""
        return value
