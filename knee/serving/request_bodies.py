"""Bodies of requests: read within limits of bytes and seconds, and parsed without being quoted.

A request of POST /invocations is JSON with one of dataframe_records, [{"image": ...}, ...], and
dataframe_split, {"columns": ["image"], "data": [[...], ...]}; beside it may stand
{"params": {"explain": true}}.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import json.decoder
import json.scanner
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from knee.prediction import request_images
from knee.prediction.request_images import RefusedError

EXPECTED: Final = (
    'expected {"dataframe_records": [{"image": ...}, ...]} or {"dataframe_split": {"columns": '
    '["image"], "data": [[...], ...]}}, and beside it at most {"params": {"explain": true}}'
)
LENGTH_DIGITS: Final = 15  # of a stated length; longer ones are refused unread
MOST: Final = {  # of these signs: all else that JSON has becomes many times as large in memory
    b'"': 256,
    b"{": 64,
    b"[": request_images.ROWS,
    b",": request_images.GRAY_VALUES,
}
LONG_CHARACTERS: Final = 1 << 16
BRIEF_BYTES: Final = 1 << 18  # parsed in less time than a thread for it takes to come back
NO_ROW: Final = re.compile(r'[ \t\r\n]*[\[{"]')  # what is in the array is no number
CLOSE: Final = {"connection": "close"}  # what is still on its way is not read


@dataclass(frozen=True)
class Question:
    """A request for predictions.

    Attributes:
        images: base64 text, or gray values as rows, bytearrays; other JSON values not checked yet.
        explain: whether a heat map is asked for.
    """

    images: list[Any]
    explain: bool


def busy(headers: Mapping[str, str] | None = None) -> HTTPException:
    """Return the refusal of a request that there is no room for now."""
    return HTTPException(
        503, "too many requests at once: ask again", {"retry-after": "2", **(headers or {})}
    )


class Room:
    """The memory for the bodies of all requests under way; large ones leave that of small ones."""

    def __init__(self) -> None:
        self._held = {False: 0.0, True: 0.0}  # bytes, by whether the body is large

    @contextlib.contextmanager
    def reserved(self) -> Iterator[Callable[[float], bool]]:
        """Yield the function that takes room for a body of so many bytes, if there is any."""
        held, is_large = 0.0, False

        def take(size: float) -> bool:
            nonlocal held, is_large
            becomes_large = size > request_images.SMALL_BODY_BYTES
            most = (
                request_images.LARGE_BODIES_BYTES
                if becomes_large
                else request_images.SMALL_BODIES_BYTES
            )
            self._held[is_large] -= held
            is_there = self._held[becomes_large] + size <= most
            if is_there:
                held, is_large = size, becomes_large
            self._held[is_large] += held
            return is_there

        try:
            yield take
        finally:
            self._held[is_large] -= held


async def read(
    request: Request,
    content_type: str = "",
    largest_bytes: int = 0,
    take: Callable[[float], bool] = lambda _: True,
) -> bytearray:
    """Read the whole body, at most `largest_bytes` and within `request_images.BODY_SECONDS`.

    The rest of a refused body passes unread for a while: a client that still sends would not read
    the answer.

    Args:
        request: of which nothing has been read.
        content_type: that it has to have; "" allows any.
        largest_bytes: of the body.
        take: takes room for so many bytes, see `Room`.

    Raises:
        HTTPException: 400, 408, 413, 415 or 503.
    """
    if content_type:
        _check_type(request, content_type)
    stated = _stated_bytes(request)
    known = stated if stated > request_images.SMALL_BODY_BYTES else 0  # others as they come
    refusal = _refusal(stated if stated > largest_bytes else known, largest_bytes, take)
    content = bytearray()
    now = asyncio.get_running_loop().time
    end = now() + (request_images.DRAIN_SECONDS if refusal else request_images.BODY_SECONDS)
    try:
        async with asyncio.timeout_at(min(end, now() + request_images.BODY_PAUSE_SECONDS)) as limit:
            async for chunk in request.stream():
                if refusal is None:
                    content += chunk
                    refusal = _refusal(max(known, len(content)), largest_bytes, take)
                    if refusal is not None:
                        content.clear()
                        take(0)
                        end = now() + request_images.DRAIN_SECONDS
                limit.reschedule(min(end, now() + request_images.BODY_PAUSE_SECONDS))
    except TimeoutError:
        if refusal is None:
            raise HTTPException(408, "the body took too long", CLOSE) from None
    except ClientDisconnect:
        raise HTTPException(400, "the body broke off") from None
    if refusal is not None:
        raise refusal
    return content


def _refusal(
    size: float, largest_bytes: int, take: Callable[[float], bool]
) -> HTTPException | None:
    if size > largest_bytes:
        return HTTPException(413, f"the body may have {largest_bytes} bytes", CLOSE)
    return None if take(size) else busy(CLOSE)


def _stated_bytes(request: Request) -> float:
    """Return the length that the header states; infinity for one that is no length."""
    stated = request.headers.get("content-length", "0")
    is_length = stated.isascii() and stated.isdecimal() and len(stated) <= LENGTH_DIGITS
    return int(stated) if is_length else math.inf


def _check_type(request: Request, expected: str) -> None:
    """Refuse a body that is compressed, or not of the `expected` type in UTF-8."""
    types = request.headers.getlist("content-type")
    parts = [part.strip().lower() for part in types[0].split(";")] if len(types) == 1 else [""]
    if parts[0] != expected or not set(parts[1:]) <= {"", "charset=utf-8", 'charset="utf-8"'}:
        raise HTTPException(415, f"the content type has to be {expected}")
    if request.headers.getlist("content-encoding") not in ([], ["identity"]):
        raise HTTPException(415, "the body must not be compressed")


def parse(body: bytes | bytearray) -> Question:
    """Parse a body of POST /invocations, in steps between which other threads run.

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


def _json(body: bytes | bytearray) -> Any:
    if any(body.count(sign) > most for sign, most in MOST.items()):
        raise RefusedError("too many rows or values: send files, as base64 text")
    try:
        return _Decoder().decode(body.decode("utf-8"))
    except RefusedError:
        raise
    except RecursionError:
        raise RefusedError("the JSON is nested too deeply") from None
    except (ValueError, MemoryError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise RefusedError("the body is not JSON in UTF-8") from None


class _Decoder(json.JSONDecoder):
    """The decoder of JSON that makes a bytearray of each row of gray values as soon as it is read.

    The decoder in C would let no other thread run before the end, and make objects of all values;
    here it reads one row at a time, and Python's own reads what is around the rows.
    """

    def __init__(self) -> None:
        super().__init__()
        self._decode_row = json.scanner.make_scanner(cast(Any, self))  # in C
        self.parse_array, self.parse_string = self._array, _string
        self.scan_once = cast(Any, json.scanner).py_make_scanner(self)

    def _array(self, where: tuple[str, int], scan_once: Any) -> tuple[Any, int]:
        text, start = where  # behind the bracket
        if NO_ROW.match(text, start):
            found: tuple[list[Any], int] = cast(Any, json.decoder).JSONArray(where, scan_once)
            return found
        if text.find("]", start, start + request_images.ROW_CHARACTERS) < 0:
            raise RefusedError("the JSON has a row of too many values, or without an end")
        row, end = self._decode_row(text, start - 1)
        if len(row) > request_images.IMAGES:
            return request_images.gray_row(row), end
        with contextlib.suppress(RefusedError):  # it may be the index of dataframe_split
            return request_images.gray_row(row) if row else row, end
        return row, end


def _string(text: str, start: int, strict: bool) -> tuple[str, int]:
    """Read a string, fast where it is long: that of a file has no backslash."""
    end = text.find('"', start)
    if end - start > LONG_CHARACTERS and text.find("\\", start, end) < 0:
        return text[start:end], end + 1
    found: tuple[str, int] = cast(Any, json.decoder).scanstring(text, start, strict)
    return found


def _is_record(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"image"}


def _is_row(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 1
