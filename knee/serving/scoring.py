"""Requests of MLflow's scoring protocol: what may be asked, and what a body has to look like.

A request is JSON with one of dataframe_records, [{"image": ...}, ...], and dataframe_split,
{"columns": ["image"], "data": [[...], ...]}; beside it may stand {"params": {"explain": true}}.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

from knee.prediction import request_limits
from knee.prediction.films import RefusedError
from knee.serving.guard import Route

RECORDS: Final = "dataframe_records"
SPLIT: Final = "dataframe_split"
PARAMETERS: Final = "params"
COLUMN: Final = "image"
EXPLAIN: Final = "explain"
FORM: Final = (
    f'expected {{"{RECORDS}": [{{"{COLUMN}": ...}}, ...]}} or {{"{SPLIT}": {{"columns": '
    f'["{COLUMN}"], "data": [[...], ...]}}}}'
)


def check(body: bytes) -> None:
    """Refuse what MLflow or the model would not take.

    Raises:
        RefusedError: with what is wrong.
    """
    request = _parsed(body)
    if not isinstance(request, dict):
        raise RefusedError(f"the body has to be a JSON object: {FORM}")
    if not set(request) <= {RECORDS, SPLIT, PARAMETERS}:
        raise RefusedError(f"a key is not known: {FORM}")
    if (RECORDS in request) == (SPLIT in request):
        raise RefusedError(FORM)
    _check_parameters(request.get(PARAMETERS, {}))
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


def _parsed(body: bytes) -> Any:
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


def _check_parameters(parameters: Any) -> None:
    if not isinstance(parameters, dict) or not set(parameters) <= {EXPLAIN}:
        raise RefusedError(f'"{PARAMETERS}" may hold "{EXPLAIN}" alone')
    if not isinstance(parameters.get(EXPLAIN, False), bool):
        raise RefusedError(f'"{EXPLAIN}" has to be true or false')


def _records(records: Any) -> list[Any]:
    if not isinstance(records, list):
        raise RefusedError(FORM)
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict) or set(record) != {COLUMN}:
            raise RefusedError(f'image {number}: expected {{"{COLUMN}": ...}}')
    return [record[COLUMN] for record in records]


def _split(split: Any) -> list[Any]:
    if not isinstance(split, dict) or not {"columns", "data"} <= set(split):
        raise RefusedError(FORM)
    if set(split) - {"columns", "data", "index"} or split["columns"] != [COLUMN]:
        raise RefusedError(FORM)
    rows = split["data"]
    if not isinstance(rows, list) or not all(isinstance(r, list) and len(r) == 1 for r in rows):
        raise RefusedError(FORM)
    index = split.get("index", list(range(len(rows))))
    if not isinstance(index, list) or len(index) != len(rows):
        raise RefusedError('"index" has to have a value a row')
    if not all(isinstance(value, int | str) for value in index):
        raise RefusedError('"index" has to hold numbers or text')
    return [row[0] for row in rows]


ROUTES: Final = {
    "/ping": Route(),
    "/health": Route(),
    "/version": Route(),
    "/invocations": Route("POST", "application/json", request_limits.BODY_BYTES, check),
}
