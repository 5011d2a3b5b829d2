"""An ASGI application asked without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from starlette.types import ASGIApp

HOST = {"host": "127.0.0.1:5001"}


def ask(
    application: ASGIApp,
    path: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    chunks: Sequence[bytes] = (b"",),
    *,
    breaks_off: bool = False,
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer; the request's body comes in `chunks`."""
    sent: list[MutableMapping[str, Any]] = []
    waiting = [
        {"type": "http.request", "body": chunk, "more_body": breaks_off or number < len(chunks)}
        for number, chunk in enumerate(chunks, 1)
    ]

    async def receive() -> MutableMapping[str, Any]:
        if not waiting and not breaks_off:
            await asyncio.Event().wait()  # the client stays
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    given = {**HOST, **(headers or {})}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(k.encode(), v.encode("latin-1")) for k, v in given.items() if v],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 5001),
    }
    asyncio.run(_run(application, scope, receive, send))
    start, *bodies = sent
    found = {key.decode(): value.decode() for key, value in start["headers"]}
    return start["status"], found, b"".join(body.get("body", b"") for body in bodies)


async def _run(application: ASGIApp, scope: Any, receive: Any, send: Any) -> None:
    await application(scope, receive, send)
