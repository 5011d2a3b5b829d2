"""Places of work that are late by chance, answer in any order, and lose workers."""

from __future__ import annotations

import contextlib
import pickle
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from knee.execution.place import Result, WorkerLost
from knee.run import parameters


class Unsteady:
    """Threads that are late by chance, and lost with some items, or the first times with others."""

    in_process = True
    has_files = False

    def __init__(
        self, window: int, retries: int, is_cursed: Callable[[Any], bool], lost_first: int
    ) -> None:
        self.window, self.retries = window, retries
        self._is_cursed, self._left = is_cursed, lost_first
        self._random, self._lock = random.Random(window), threading.Lock()
        self._pool = ThreadPoolExecutor(3)
        self.begun: list[list[Any]] = []

    def submit(self, task: Callable[..., Result], *arguments: Any) -> Future[Result]:
        items = list(arguments[-1])
        self.begun.append(items)
        with self._lock:
            late, is_lost = self._random.random() / 2000, self._left > 0
            self._left -= 1

        def work() -> Result:
            time.sleep(late)
            if is_lost or any(map(self._is_cursed, items)):
                raise WorkerLost("killed")
            return task(*arguments)

        return self._pool.submit(work)

    def share(self, value: Any) -> Any:
        return value


class Elsewhere(Unsteady):
    """The same on other machines: what goes there and comes back is bytes, and kept for tests."""

    in_process = False
    has_files = True

    def __init__(self, is_cursed: Callable[[Any], bool] = lambda _: False) -> None:
        super().__init__(3, 2, is_cursed, lost_first=2)
        self.sent: list[bytes] = []

    def submit(self, task: Callable[..., Result], *arguments: Any) -> Future[Result]:
        self.sent.append(pickle.dumps((task, arguments)))
        received, values = pickle.loads(self.sent[-1])
        done: Future[Result] = super().submit(received, *values)
        answered: Future[Result] = Future()

        def answer(future: Future[Result]) -> None:
            error = future.exception()
            if error is None:
                answered.set_result(pickle.loads(pickle.dumps(future.result())))
            else:
                answered.set_exception(pickle.loads(pickle.dumps(error)))

        done.add_done_callback(answer)
        return answered


OPENED: list[Elsewhere] = []  # by `connected`, the last at the end


@contextlib.contextmanager
def connected(_: parameters.Execution, trial: Callable[[], str]) -> Iterator[Elsewhere]:
    """An adapter, as knee.execution.opening loads it by name."""
    pickle.dumps(trial)
    OPENED.append(Elsewhere())
    yield OPENED[-1]
