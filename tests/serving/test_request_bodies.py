"""Bodies of POST /invocations: right ones are parsed, a refusal quotes nothing of the others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from knee.prediction.request_images import RefusedError
from knee.serving import request_bodies

TEXT = "aGVsbG8="


@pytest.mark.parametrize(
    ("request_", "images", "explain"),
    [
        ({"dataframe_records": [{"image": TEXT}]}, [TEXT], False),
        (
            {"dataframe_records": [{"image": [[0, 255], [1, 2.0]]}]},
            [[bytearray([0, 255]), bytearray([1, 2])]],
            False,
        ),
        ({"dataframe_records": [{"image": TEXT}], "params": {"explain": True}}, [TEXT], True),
        ({"dataframe_records": [{"image": TEXT}] * 16, "params": {}}, [TEXT] * 16, False),
        (
            {"dataframe_split": {"columns": ["image"], "data": [[TEXT]], "index": [0]}},
            [TEXT],
            False,
        ),
        ({"dataframe_split": {"columns": ["image"], "data": [[TEXT], ["b"]]}}, [TEXT, "b"], False),
    ],
)
def test_right_bodies_are_parsed(
    request_: dict[str, Any], images: list[Any], *, explain: bool
) -> None:
    found = request_bodies.parse(json.dumps(request_).encode())
    assert found == request_bodies.Question(images, explain)


RECORD = '{"dataframe_records": [{"image": %s}]}'


@pytest.mark.parametrize(
    "body",
    [
        "",
        "JANE DOE",
        '"JANE DOE"',
        "null",
        "[]",
        "{}",
        "{" * 3,
        '{"JANE DOE": 1}',
        '{"inputs": ["aGVsbG8="]}',
        '{"instances": [{"image": "aGVsbG8="}]}',
        '{"dataframe_records": [], "dataframe_split": {}}',
        '{"dataframe_records": {"image": "JANE DOE"}}',
        '{"dataframe_records": ["JANE DOE"]}',
        '{"dataframe_records": [{}]}',
        '{"dataframe_records": [{"image": "aGVsbG8=", "name": "JANE DOE"}]}',
        RECORD % f"[[{'9' * 5000}]]",
        RECORD % ("[" * 100_000 + "]" * 100_000),
        "[" * 100_000,
        '{"params":' * 100_000,
        '{"dataframe_split": []}',
        '{"dataframe_split": {"columns": ["image"]}}',
        '{"dataframe_split": {"columns": ["JANE DOE"], "data": [["aGVsbG8="]]}}',
        '{"dataframe_split": {"columns": ["image", "image"], "data": [["aGVsbG8=", "x"]]}}',
        '{"dataframe_split": {"columns": ["image"], "data": "JANE DOE"}}',
        '{"dataframe_split": {"columns": ["image"], "data": [["aGVsbG8=", 1]]}}',
        '{"dataframe_split": {"columns": ["image"], "data": [["aGVsbG8="]], "more": []}}',
        '{"dataframe_records": [{"image": "aGVsbG8="}], "params": ["JANE DOE"]}',
        '{"dataframe_records": [{"image": "aGVsbG8="}], "params": {"JANE DOE": 1}}',
        '{"dataframe_records": [{"image": "aGVsbG8="}], "params": {"explain": "JANE DOE"}}',
        '{"dataframe_records": [{"image": "aGVsbG8="}], "params": {"explain": 1}}',
    ],
    ids=lambda body: body[:40],
)
def test_malformed_bodies_are_refused_without_being_quoted(body: str) -> None:
    with pytest.raises(RefusedError) as caught:
        request_bodies.parse(body.encode())
    assert "JANE" not in str(caught.value)
    assert "DOE" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_other_encodings_are_refused() -> None:
    for encoding in ("utf-16", "utf-32", "latin-1"):
        with pytest.raises(RefusedError):
            request_bodies.parse((RECORD % '"J\u00e4ne"').encode(encoding))
