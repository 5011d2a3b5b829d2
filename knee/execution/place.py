"""The place of work: what library code asks for, whatever engine is behind it.

The interface is that of the standard library's futures. A task is a function of a module of the
library; its arguments are plain values and arrays, and its result depends on them alone. So no byte
of a result depends on the place. Only the process that submits tasks writes outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from knee.run.errors import UserError

Result = TypeVar("Result")
Value = TypeVar("Value")


class ExecutionError(UserError):
    """There is no place to work at, or it is lost; the message says what to do."""


class WorkerLost(Exception):  # noqa: N818 (of a task's future, caught by `ordered`)
    """The worker ended with its task unfinished: killed, out of memory, or its node is gone."""


class Place(Protocol):
    """Workers that do tasks.

    Attributes:
        window: most tasks that are worth submitting ahead of the oldest unfinished one.
        in_process: whether tasks see the memory of this process, so that nothing has to travel.
        has_files: whether its workers open the same paths as this process.
        retries: how often a task is tried again whose worker was lost.
    """

    window: int
    in_process: bool
    has_files: bool
    retries: int

    def submit(self, task: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Begin `task(*arguments)`; the future's exception is the task's own, or `WorkerLost`."""

    def share(self, value: Value) -> Value:
        """Return what stands for `value`, read-only, as an argument; it travels once a node."""
