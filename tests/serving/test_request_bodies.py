"""Bodies of POST /invocations: right ones are parsed, a refusal quotes nothing of the others."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knee.prediction import request_images
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


def test_numbers_beside_images_stay_what_they_are() -> None:
    body = '{"dataframe_split": {"columns": ["image"], "data": [["a"], ["b"]], "index": [7, 1047]}}'
    assert request_bodies.parse(body.encode()).images == ["a", "b"]


def test_a_list_of_a_files_bytes_is_no_file() -> None:
    body = RECORD % "[137, 80, 78, 71]"
    assert request_bodies.parse(body.encode()).images == [bytearray([137, 80, 78, 71])]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["0.5"] * 20, "whole numbers"),
        (["256"] * 20, "whole numbers"),
        (["-1"] * 20, "whole numbers"),
        (["NaN"] * 20, "whole numbers"),
        (["9" * 400] * 20, "whole numbers"),
        (["1"] * 20 + ["true"], "rows of equal length"),
        (["1"] * 20 + ["null"], "rows of equal length"),
        (["1"] * 20 + ['"JANE"'], "rows of equal length"),
        (["1"] * 20 + ["[1]"], "rows of equal length"),
        (["[]"] * 70_000, "too many rows"),
        (['"JANE"'] * 200, "too many rows"),
        (["{}"] * 200, "too many rows"),
        (["1", " " * request_images.ROW_CHARACTERS], "too many values"),
    ],
    ids=lambda given: given[-1][:12] if isinstance(given, list) else "",
)
def test_what_becomes_large_in_memory_is_refused_while_it_is_read(
    values: list[str], message: str
) -> None:
    with pytest.raises(RefusedError, match=message):
        request_bodies.parse((RECORD % f"[[{','.join(values)}]]").encode())


def test_no_more_gray_values_are_read_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(request_bodies.MOST, b",", 10)
    request_bodies.parse((RECORD % "[[1,2,3,4,5,6]]").encode())
    with pytest.raises(RefusedError, match="too many"):
        request_bodies.parse((RECORD % "[[1,2,3,4,5,6,7,8,9,10,11,12]]").encode())


LONG = "QUJD" * (request_bodies.LONG_CHARACTERS // 4)
TEXTS = st.sampled_from(
    [LONG, LONG + "\n", "/" + LONG, '"', "\\", "\u20ac", "", "a" * 70_000 + '"']
)


@given(st.recursive(st.none() | st.booleans() | TEXTS, st.lists, max_leaves=5))
def test_everything_but_rows_of_numbers_is_read_as_json_reads_it(value: Any) -> None:
    wanted = RECORD % json.dumps(value)
    (found,) = request_bodies.parse(wanted.encode()).images
    assert found == value
    assert request_bodies.parse(wanted.replace("/", "\\/").encode()).images == [value]


def test_a_long_text_without_an_end_is_no_json() -> None:
    with pytest.raises(RefusedError):
        request_bodies.parse((RECORD % f'"{LONG}')[:-2].encode())


def test_large_bodies_leave_the_room_of_small_ones() -> None:
    large, small = request_images.BODY_BYTES, request_images.SMALL_BODY_BYTES
    room = request_bodies.Room()
    with room.reserved() as first, room.reserved() as second, room.reserved() as third:
        assert first(large)
        assert second(small)
        assert second(large)
        assert not third(small + 1)
        assert third(small)
        first(0)
        assert third(large)
    with room.reserved() as first, room.reserved() as second:
        assert first(large)
        assert second(large)


def test_small_bodies_have_an_end_of_their_room() -> None:
    room, small = request_bodies.Room(), request_images.SMALL_BODY_BYTES
    with contextlib.ExitStack() as stack:
        takes = [stack.enter_context(room.reserved()) for _ in range(40)]
        taken = sum(take(small) for take in takes)
    assert taken * small == request_images.SMALL_BODIES_BYTES


def test_other_encodings_are_refused() -> None:
    for encoding in ("utf-16", "utf-32", "latin-1"):
        with pytest.raises(RefusedError):
            request_bodies.parse((RECORD % '"J\u00e4ne"').encode(encoding))
