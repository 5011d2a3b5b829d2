"""In front of a server on this machine: whom it answers, how much it reads, what it says.

An ASGI middleware. It knows the host names and the routes, reads the body up to a limit of bytes
and seconds, lets a check look at it, and hands it on. Refusals are JSON, never quote the request,
and are the only errors that go out: whatever else the application says of an error stays here.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

from knee.prediction import request_limits
from knee.prediction.films import RefusedError
from knee.serving import asgi
from knee.serving.asgi import Application, Receive, RefusedRequestError, Scope, Send

LOCAL_NAMES: Final = frozenset(("127.0.0.1", "localhost", "::1"))
REFUSED: Final = "refused"  # in a JSON body: this error is written for the client
HEADERS: Final = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
PLAIN_REASONS: Final = {  # where the application's own words stay here
    404: "there is nothing under this address",
    405: "this address is not asked in this way",
    500: "the server failed; its log says why",
    504: "the answer took too long",
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Route:
    """One address that may be asked.

    Attributes:
        method: GET or POST.
        content_type: that a body has to have; "" for no body.
        largest_bytes: of a body.
        check: raises RefusedError for a body that cannot be answered.
    """

    method: str = "GET"
    content_type: str = ""
    largest_bytes: int = 0
    check: Callable[[bytes], None] | None = None


@dataclass(frozen=True)
class Guard:
    """The application behind the guard.

    Attributes:
        application: that answers.
        routes: path -> what may be asked there.
        headers: of every response, beside `HEADERS`.
        names: host names, without ports, under which the server may be asked.
    """

    application: Application
    routes: Mapping[str, Route]
    headers: Mapping[str, str] = field(default_factory=dict)
    names: frozenset[str] = LOCAL_NAMES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's request, as ASGI has it."""
        if scope["type"] == "lifespan":
            await self.application(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # the server closes what is not accepted
        try:
            body = await self._admitted(scope, receive)
            status, headers, content = await asyncio.wait_for(
                _answer(self.application, scope, body), request_limits.ANSWER_SECONDS
            )
        except RefusedRequestError as refusal:
            status, headers, content = refusal.status, {}, _refusal(refusal.reason)
        except TimeoutError:
            status, headers, content = 504, {}, _refusal(PLAIN_REASONS[504])
        except Exception as error:  # what it is stays in the log, and the server goes on
            logger.error("no answer: %s", type(error).__name__)
            status, headers, content = 500, {}, _refusal(PLAIN_REASONS[500])
        if status >= 400:
            headers, content = {"content-type": "application/json"}, _own_words(status, content)
        await self._send(send, status, headers, content)

    async def _admitted(self, scope: Scope, receive: Receive) -> bytes:
        """The body of a request that may be answered."""
        given = asgi.headers(scope)
        self._check_names(given)
        route = self.routes.get(scope["path"])
        if route is None:
            raise RefusedRequestError(404, PLAIN_REASONS[404])
        if scope["method"] != route.method:
            raise RefusedRequestError(405, f"{scope['path']} is asked with {route.method} alone")
        if route.content_type:
            asgi.check_type(given, route.content_type)
        body = await asgi.body(given, receive, route.largest_bytes)
        if route.check is not None:
            try:
                await asyncio.to_thread(route.check, body)
            except RefusedError as reason:
                raise RefusedRequestError(400, str(reason)) from None
        return body

    def _check_names(self, given: Mapping[str, list[str]]) -> None:
        """A page elsewhere must not reach this server through its reader's browser."""
        asked = [asgi.host_name(f"//{host}") for host in given.get("host", [])]
        if len(asked) != 1 or asked[0] not in self.names:
            raise RefusedRequestError(421, "this server answers under localhost alone")
        for origin in given.get("origin", []):
            if asgi.host_name(origin) not in self.names:
                raise RefusedRequestError(403, "pages of other servers may not ask this one")

    async def _send(
        self, send: Send, status: int, headers: Mapping[str, str], content: bytes
    ) -> None:
        said = {
            **headers,
            **HEADERS,
            **self.headers,
            "content-length": str(len(content)),
        }
        if status in (408, 413):
            said["connection"] = "close"  # what is still on its way is not read
        pairs = [(key.encode("latin-1"), value.encode("latin-1")) for key, value in said.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": content})


async def _answer(
    application: Application, scope: Scope, body: bytes
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of what the application answers."""
    status, headers, content = 500, dict[str, str](), bytearray()
    handed = False

    async def receive() -> MutableMapping[str, Any]:
        nonlocal handed
        if handed:
            await asyncio.Event().wait()  # the client is still there
        handed = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            headers.update(
                {k.decode("latin-1"): v.decode("latin-1") for k, v in message["headers"]}
            )
        elif message["type"] == "http.response.body":
            content.extend(message.get("body", b""))

    await application(scope, receive, send)
    return status, headers, bytes(content)


def _refusal(reason: str) -> bytes:
    return json.dumps({"message": reason, REFUSED: True}).encode()


def _own_words(status: int, content: bytes) -> bytes:
    """The refusal in `content`, if it is one; else the plain reason for this status."""
    try:
        said = json.loads(content)
        if said[REFUSED] is True:
            return _error(status, str(said["message"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        logger.error("an answer of the application with status %d was withheld", status)
    return _error(status, PLAIN_REASONS.get(status, "the request cannot be answered"))


def _error(status: int, message: str) -> bytes:
    return json.dumps({"error": status, "message": message}).encode()
