"""Work in threads for clients: so much at once, so much that waits, none for clients that left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request

from knee.serving.request_bodies import busy

Done = TypeVar("Done")


class LimitedWork:
    """Work of one kind."""

    def __init__(self, threads: int, most: int) -> None:
        """Take up to `most` pieces of work, of which `threads` are done at once."""
        self._threads = ThreadPoolExecutor(threads)
        self._places = threading.BoundedSemaphore(most)

    async def done(
        self, request: Request, work: Callable[[threading.Event], Done], longest_seconds: float
    ) -> Done:
        """Return what `work` does, which is given an event that is set if nobody waits any more.

        Its place is free again when it has ended, whoever waits for it.

        Args:
            request: the body of which has been read.
            work: to be done in a thread.
            longest_seconds: to wait.

        Raises:
            HTTPException: 503 for too much work at once, 504 for work that takes too long, 499
                (which nobody gets) for a client that left.
        """
        if not self._places.acquire(blocking=False):
            raise busy()
        abandoned = threading.Event()
        begun: Future[Done] = self._threads.submit(work, abandoned)
        begun.add_done_callback(lambda _: self._places.release())
        finished = asyncio.wrap_future(begun)
        left = asyncio.ensure_future(_left(request))
        try:
            ended, _ = await asyncio.wait(
                (finished, left), timeout=longest_seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            left.cancel()
            if not finished.done():
                begun.cancel()  # if no thread has it yet
                abandoned.set()
                finished.cancel()
        if finished in ended:
            return finished.result()
        if left in ended:
            raise HTTPException(499, "the client left")
        raise HTTPException(504, "the answer took too long")


async def _left(request: Request) -> None:
    """Return when the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
