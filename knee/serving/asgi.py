"""The head and the body of a request, read with bounds: ASGI's messages -> values or a refusal."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from knee.prediction import request_limits

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class RefusedRequestError(Exception):
    """A request that is answered by a status and a reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def headers(scope: Scope) -> dict[str, list[str]]:
    """Lower-case names -> the values in order."""
    found: dict[str, list[str]] = {}
    for key, value in scope["headers"]:
        found.setdefault(key.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def host_name(address: str) -> str:
    """The host name in an address, without its port; "" if there is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def check_type(given: Mapping[str, list[str]], expected: str) -> None:
    """Refuse a body that is compressed, or not of the `expected` type in UTF-8."""
    types = given.get("content-type", [])
    parts = [part.strip().lower() for part in types[0].split(";")] if len(types) == 1 else [""]
    if parts[0] != expected or not set(parts[1:]) <= {"", "charset=utf-8", 'charset="utf-8"'}:
        raise RefusedRequestError(415, f"the content type has to be {expected}")
    if given.get("content-encoding", ["identity"]) != ["identity"]:
        raise RefusedRequestError(415, "the body must not be compressed")


async def body(given: Mapping[str, list[str]], receive: Receive, largest: int) -> bytes:
    """The whole body, at most `largest` bytes and within limits.BODY_SECONDS."""
    too_large = RefusedRequestError(413, f"the body may have {largest} bytes")
    told = given.get("content-length", ["0"])[0]
    if not told.isdecimal() or len(told) > 15 or int(told) > largest:
        await _drain(receive)
        raise too_large
    content = bytearray()
    try:
        async with asyncio.timeout(request_limits.BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RefusedRequestError(400, "the body broke off")
                content += message.get("body", b"")
                if len(content) > largest:
                    content.clear()
                    await _drain(receive)
                    raise too_large
                if not message.get("more_body", False):
                    return bytes(content)
    except TimeoutError:
        raise RefusedRequestError(408, "the body took too long") from None


async def _drain(receive: Receive) -> None:
    """Let the rest of a body pass, for a while: a client that still sends reads no answer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(request_limits.DRAIN_SECONDS):
            more = True
            while more:
                message = await receive()
                more = message["type"] == "http.request" and message.get("more_body", False)
