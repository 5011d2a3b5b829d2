"""Open the place of work that the section `execution` of the parameters names."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from knee.execution.local import Inline
from knee.execution.place import Place
from knee.run import parameters

ADAPTERS: Final = {"ray": "knee.execution.on_ray"}  # loaded by name: no other place needs them


class Opened:
    """The place of work, opened when it is first asked for, closed with the block."""

    def __init__(
        self,
        settings: parameters.Execution,
        trial: Callable[[], str],
        local: Callable[[], contextlib.AbstractContextManager[Place]] = lambda: (
            contextlib.nullcontext(Inline())
        ),
    ) -> None:
        """Prepare to open.

        Args:
            settings: the section `execution`.
            trial: a function of a module of the library that does a small piece of the work and
                returns a digest of it: a node that computes other bits gets no work.
            local: opens the place for the engine "local".
        """
        self._settings, self._trial, self._local = settings, trial, local
        self._stack = contextlib.ExitStack()
        self._place: Place | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def __call__(self) -> Place:
        """Return the place.

        Raises:
            ExecutionError: there is none, or it is not safe.
        """
        if self._place is None:
            self._place = self._stack.enter_context(self._open())
        return self._place

    def _open(self) -> contextlib.AbstractContextManager[Place]:
        if self._settings.engine == "local":
            return self._local()
        adapter = importlib.import_module(ADAPTERS[self._settings.engine])
        opened: contextlib.AbstractContextManager[Place] = adapter.connected(
            self._settings, self._trial
        )
        return opened
