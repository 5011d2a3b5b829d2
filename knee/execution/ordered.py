"""Results in the order of their chunks, from workers that may be slow, fast, or lost."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Generic, TypeVar

from knee.execution.place import ExecutionError, Place, WorkerLost

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclasses.dataclass(eq=False)
class _Chunk(Generic[Item, Result]):
    """Items whose results are awaited."""

    items: Sequence[Item]
    results: dict[int, Result] = dataclasses.field(default_factory=dict)  # by place in `items`

    def is_done(self) -> bool:
        return len(self.results) == len(self.items)

    def ordered(self) -> list[Result]:
        return [self.results[number] for number in range(len(self.items))]


@dataclasses.dataclass(frozen=True, eq=False)
class _Part(Generic[Item, Result]):
    """Some items of a chunk, done by one task."""

    chunk: _Chunk[Item, Result]
    start: int
    stop: int
    lost: int = 0  # workers with this task

    def keep(self, results: Sequence[Result]) -> None:
        numbers = range(self.start, self.stop)
        self.chunk.results.update(zip(numbers, results, strict=True))

    def halves(self) -> list[_Part[Item, Result]]:
        middle = (self.start + self.stop) // 2
        ends = (self.start, middle), (middle, self.stop)
        return [_Part(self.chunk, start, stop) for start, stop in ends]


def ordered(
    place: Place,
    task: Callable[..., Sequence[Result]],
    shared: Sequence[Any],
    chunks: Iterable[Sequence[Item]],
    *,
    name: Callable[[Item], str],
    arrived: Callable[[Sequence[Item], Sequence[Result]], None] | None = None,
) -> Iterator[Sequence[Result]]:
    """Yield the results of each chunk, in the order of `chunks`.

    At most `place.window` chunks are begun and not yet yielded. A task whose worker is lost is
    tried again, at most `place.retries` times; then it is halved, down to the one item that ends
    its workers. A task's own exception is raised as it is, and never tried again.

    Args:
        place: of the work.
        task: called as task(*shared, items), it returns one result an item.
        shared: first arguments of all tasks, as `place.share` gives them.
        chunks: of items; no result depends on how they are cut.
        name: of an item, for messages.
        arrived: called with a chunk's items and results as soon as these are there, in any order.

    Raises:
        ExecutionError: an item ends every worker that it is given, or the place is lost.
    """
    running = _Running[Item, Result](place, lambda items: place.submit(task, *shared, items), name)
    waiting: deque[_Chunk[Item, Result]] = deque()
    coming = iter(chunks)
    try:
        while True:
            while len(waiting) < place.window and (items := next(coming, None)) is not None:
                waiting.append(_Chunk(items))
                running.begin(_Part(waiting[-1], 0, len(items)))
            if not waiting:
                return
            while not waiting[0].is_done():
                for chunk in running.next_done():
                    if arrived:
                        arrived(chunk.items, chunk.ordered())
            yield waiting.popleft().ordered()
    finally:
        running.cancel()


class _Running(Generic[Item, Result]):
    """Parts whose results are not there yet."""

    def __init__(
        self,
        place: Place,
        submit: Callable[[Sequence[Item]], Future[Sequence[Result]]],
        name: Callable[[Item], str],
    ) -> None:
        self._place, self._submit, self._name = place, submit, name
        self._parts: dict[Future[Sequence[Result]], _Part[Item, Result]] = {}

    def begin(self, part: _Part[Item, Result]) -> None:
        """Submit a part, unless it is empty."""
        if part.start < part.stop:
            self._parts[self._submit(part.chunk.items[part.start : part.stop])] = part

    def next_done(self) -> list[_Chunk[Item, Result]]:
        """Wait for a part or several; begin lost ones again; the chunks that are complete now."""
        complete = []
        for future in wait(self._parts, return_when=FIRST_COMPLETED).done:
            part = self._parts.pop(future)
            try:
                part.keep(future.result())
            except WorkerLost as error:
                for again in _again(part, self._place.retries, self._name, error):
                    self.begin(again)
            else:
                complete += [part.chunk] if part.chunk.is_done() else []
        return complete

    def cancel(self) -> None:
        """Give up what has not begun."""
        for future in self._parts:
            future.cancel()


def _again(
    part: _Part[Item, Result], retries: int, name: Callable[[Item], str], error: WorkerLost
) -> list[_Part[Item, Result]]:
    """What to begin after `part` has lost a worker."""
    if part.lost < retries:
        return [dataclasses.replace(part, lost=part.lost + 1)]
    if part.stop - part.start > 1:
        return part.halves()
    ended = "1 worker" if part.lost == 0 else f"{part.lost + 1} workers"
    raise ExecutionError(f"{name(part.chunk.items[part.start])} ended {ended}: {error}") from error
