"""Connections that a client cannot keep for nothing, and a log that it cannot fill."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from knee.prediction import request_images

SECONDS_BETWEEN: Final = 1.0  # lines of the log that say that something was refused
REFUSED: Final = (408, 503)

log = logging.getLogger(__name__)


class Connection(H11Protocol):
    """An HTTP connection that is closed if its client is silent for too long.

    A request's header has to be complete some seconds after the connection was opened, or the
    last answer was given. Of too many connections the one is closed whose client has been waited
    for longest: so those that send nothing keep nobody out.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._silent: asyncio.TimerHandle | None = None
        self.waiting_since = 0.0
        self._unsent_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request; make room for it."""
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > request_images.CONNECTIONS:
            ours = [each for each in self.connections if isinstance(each, Connection)]
            waited_for = [each for each in ours if each.is_waited_for()]
            min(waited_for, key=lambda each: each.waiting_since).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop to wait."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take a part of a request; the wait ends with its whole header."""
        super().data_received(data)
        if self._has_request():
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._wait()
        super().on_response_complete()
        if self._has_request():  # it came behind the last one
            self._stop_waiting()

    def is_waited_for(self) -> bool:
        """Whether the client still has to send something."""
        is_open = not self.transport.is_closing()
        return is_open and (not self._has_request() or self.cycle.more_body)

    def _has_request(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._stop_waiting()
        self.waiting_since = self.loop.time()
        self._silent = self.loop.call_later(request_images.SILENT_SECONDS, self._close_silent)

    def _stop_waiting(self) -> None:
        if self._silent is not None:
            self._silent.cancel()
            self._silent = None

    def _close_silent(self) -> None:
        """Close, unless the client still takes its last answer."""
        unsent = self.transport.get_write_buffer_size()
        if unsent and unsent != self._unsent_bytes:
            self._unsent_bytes = unsent
            self._wait()
        else:
            self.transport.abort()


class FewRefusals(logging.Filter):
    """Count what the server refuses because of its load, and write one line of it a second."""

    def __init__(self) -> None:
        super().__init__()
        self._written = 0.0  # seconds since 1970
        self._refused = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line is written; of a refusal the number of them is, now and then."""
        if not _is_refusal(record):
            return True
        self._refused += 1
        if not 0 <= record.created - self._written < SECONDS_BETWEEN:
            log.warning("refused for load, silence or no HTTP: %d requests", self._refused)
            self._written, self._refused = record.created, 0
        return False


def _is_refusal(record: logging.LogRecord) -> bool:
    """Whether uvicorn warns, or tells of a request with such a status."""
    if record.name == "uvicorn.access":
        return isinstance(record.args, tuple) and record.args[-1] in REFUSED
    return record.levelno == logging.WARNING
