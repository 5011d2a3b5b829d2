"""The place of work that is this process."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from knee.execution.place import Result, Value


class Inline:
    """Does each task at once, in the thread that submits it."""

    window = 1
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
