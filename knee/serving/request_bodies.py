"""Bodies of requests: read within limits of bytes and seconds, and parsed without being quoted.

A request of POST /invocations is JSON with one of dataframe_records, [{"image": ...}, ...], and
dataframe_split, {"columns": ["image"], "data": [[...], ...]}; beside it may stand
{"params": {"explain": true}}.
"""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from knee.prediction import request_limits
from knee.prediction.request_images import RefusedError

RECORDS: Final = "dataframe_records"
SPLIT: Final = "dataframe_split"
PARAMETERS: Final = "params"
COLUMN: Final = "image"
EXPLAIN: Final = "explain"
EXPECTED: Final = (
    f'expected {{"{RECORDS}": [{{"{COLUMN}": ...}}, ...]}} or {{"{SPLIT}": {{"columns": '
    f'["{COLUMN}"], "data": [[...], ...]}}}}'
)
LENGTH_DIGITS: Final = 15  # of a stated length; longer ones are refused unread
CLOSE: Final = {"connection": "close"}  # what is still on its way is not read


@dataclass(frozen=True)
class Question:
    """A request for predictions.

    Attributes:
        images: base64 text, or gray values as rows, each.
        explain: whether a heat map is asked for.
    """

    images: list[str | list[Any]]
    explain: bool


async def read(request: Request, content_type: str = "", largest_bytes: int = 0) -> bytes:
    """Read the whole body, at most `largest_bytes` and within `request_limits.BODY_SECONDS`.

    The rest of a body that is too large passes unread for a while: a client that still sends would
    not read the answer.

    Args:
        request: whose body it is.
        content_type: that the body has to have; "" for any.
        largest_bytes: of the body.

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
    seconds = request_limits.DRAIN_SECONDS if is_too_large else request_limits.BODY_SECONDS
    try:
        async with asyncio.timeout(seconds) as limit:
            async for chunk in request.stream():
                content += chunk if not is_too_large else b""
                if len(content) > largest_bytes:
                    is_too_large = True
                    content.clear()
                    limit.reschedule(
                        asyncio.get_running_loop().time() + request_limits.DRAIN_SECONDS
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
    request = _json(body)
    if not isinstance(request, dict):
        raise RefusedError(f"the body has to be a JSON object: {EXPECTED}")
    if not set(request) <= {RECORDS, SPLIT, PARAMETERS}:
        raise RefusedError(f"a key is not known: {EXPECTED}")
    if (RECORDS in request) == (SPLIT in request):
        raise RefusedError(EXPECTED)
    images = _records(request[RECORDS]) if RECORDS in request else _split(request[SPLIT])
    if not 1 <= len(images) <= request_limits.IMAGES:
        raise RefusedError(
            f"expected 1-{request_limits.IMAGES} images in a request, got {len(images)}"
        )
    for number, image in enumerate(images, 1):
        if not isinstance(image, str | list) or not image:
            raise RefusedError(
                f"image {number}: expected base64 text, or gray values as rows of 0-255"
            )
        if isinstance(image, str) and not image.isascii():
            raise RefusedError(f"image {number}: not base64 text of a file")
    return Question(images, _explain(request.get(PARAMETERS, {})))


def _json(body: bytes) -> Any:
    try:
        text = body.decode("utf-8")
        return json.loads(text, parse_float=_finite, parse_constant=_not_a_number)
    except RefusedError:
        raise
    except RecursionError:
        raise RefusedError("the JSON is nested too deeply") from None
    except (ValueError, MemoryError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise RefusedError("the body is not JSON in UTF-8") from None


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise RefusedError("a number is too large")
    return value


def _not_a_number(_text: str) -> float:
    raise RefusedError("NaN and Infinity are no JSON")


def _records(records: Any) -> list[Any]:
    if not isinstance(records, list):
        raise RefusedError(EXPECTED)
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict) or set(record) != {COLUMN}:
            raise RefusedError(f'image {number}: expected {{"{COLUMN}": ...}}')
    return [record[COLUMN] for record in records]


def _split(split: Any) -> list[Any]:
    """Return the images of a table as pandas writes it; its index says nothing of them."""
    keys = set(split) if isinstance(split, dict) else set()
    if keys | {"index"} != {"columns", "data", "index"} or split["columns"] != [COLUMN]:
        raise RefusedError(EXPECTED)
    rows = split["data"]
    if not isinstance(rows, list) or not all(isinstance(r, list) and len(r) == 1 for r in rows):
        raise RefusedError(EXPECTED)
    index = split.get("index", rows)
    if not isinstance(index, list) or len(index) != len(rows):
        raise RefusedError('"index" has to have a value a row')
    return [row[0] for row in rows]


def _explain(parameters: Any) -> bool:
    if not isinstance(parameters, dict) or not set(parameters) <= {EXPLAIN}:
        raise RefusedError(f'"{PARAMETERS}" may hold "{EXPLAIN}" alone')
    explain = parameters.get(EXPLAIN, False)
    if not isinstance(explain, bool):
        raise RefusedError(f'"{EXPLAIN}" has to be true or false')
    return explain
