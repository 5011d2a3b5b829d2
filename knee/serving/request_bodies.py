"""Bodies of requests: read within limits of bytes and seconds, and parsed without being quoted.

A request of POST /invocations is JSON with one of dataframe_records, [{"image": ...}, ...], and
dataframe_split, {"columns": ["image"], "data": [[...], ...]}; beside it may stand
{"params": {"explain": true}}.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from knee.prediction import request_images
from knee.prediction.request_images import RefusedError

EXPECTED: Final = (
    'expected {"dataframe_records": [{"image": ...}, ...]} or {"dataframe_split": {"columns": '
    '["image"], "data": [[...], ...]}}, and beside it at most {"params": {"explain": true}}'
)
LENGTH_DIGITS: Final = 15  # of a stated length; longer ones are refused unread
CLOSE: Final = {"connection": "close"}  # what is still on its way is not read


@dataclass(frozen=True)
class Question:
    """A request for predictions.

    Attributes:
        images: JSON values, to be base64 text or gray values as rows; not checked yet.
        explain: whether a heat map is asked for.
    """

    images: list[Any]
    explain: bool


async def read(request: Request, content_type: str = "", largest_bytes: int = 0) -> bytes:
    """Read the whole body, at most `largest_bytes` and within `request_images.BODY_SECONDS`.

    The rest of a body that is too large passes unread for a while: a client that still sends would
    not read the answer. A `content_type` of "" allows any.

    Raises:
        HTTPException: 400, 408, 413 or 415.
    """
    if content_type:
        _check_type(request, content_type)
    stated = request.headers.get("content-length", "0")
    is_too_large = not (
        stated.isdecimal() and len(stated) <= LENGTH_DIGITS and int(stated) <= largest_bytes
    )
    content = bytearray()
    seconds = request_images.DRAIN_SECONDS if is_too_large else request_images.BODY_SECONDS
    try:
        async with asyncio.timeout(seconds) as limit:
            async for chunk in request.stream():
                content += chunk if not is_too_large else b""
                if len(content) > largest_bytes:
                    is_too_large = True
                    content.clear()
                    limit.reschedule(
                        asyncio.get_running_loop().time() + request_images.DRAIN_SECONDS
                    )
    except TimeoutError:
        if not is_too_large:
            raise HTTPException(408, "the body took too long", CLOSE) from None
    except ClientDisconnect:
        raise HTTPException(400, "the body broke off") from None
    if is_too_large:
        raise HTTPException(413, f"the body may have {largest_bytes} bytes", CLOSE)
    return bytes(content)


def _check_type(request: Request, expected: str) -> None:
    """Refuse a body that is compressed, or not of the `expected` type in UTF-8."""
    types = request.headers.getlist("content-type")
    parts = [part.strip().lower() for part in types[0].split(";")] if len(types) == 1 else [""]
    if parts[0] != expected or not set(parts[1:]) <= {"", "charset=utf-8", 'charset="utf-8"'}:
        raise HTTPException(415, f"the content type has to be {expected}")
    if request.headers.getlist("content-encoding") not in ([], ["identity"]):
        raise HTTPException(415, "the body must not be compressed")


def parse(body: bytes) -> Question:
    """Parse a body of POST /invocations.

    Raises:
        RefusedError: with what is wrong.
    """
    match _json(body):
        case {"dataframe_records": [*records], **beside} if all(map(_is_record, records)):
            images = [record["image"] for record in records]
        case {
            "dataframe_split": {"columns": ["image"], "data": [*rows], **index},
            **beside,
        } if set(index) <= {"index"} and all(map(_is_row, rows)):
            images = [row[0] for row in rows]
        case _:
            raise RefusedError(EXPECTED)
    parameters = beside.pop("params", {})
    explain = parameters.pop("explain", False) if isinstance(parameters, dict) else None
    if beside or parameters or not isinstance(explain, bool):
        raise RefusedError(EXPECTED)
    return Question(images, explain)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"))
    except RecursionError:
        raise RefusedError("the JSON is nested too deeply") from None
    except (ValueError, MemoryError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise RefusedError("the body is not JSON in UTF-8") from None


def _is_record(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"image"}


def _is_row(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 1
