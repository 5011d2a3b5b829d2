"""Images of a request lead to the pixels that ingest makes of a file, or are refused."""

from __future__ import annotations

import base64
import dataclasses
import tracemalloc
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from knee.prediction import request_images
from knee.reading import prepare
from knee.reading.canonical_image import Canonical, DicomRule
from knee.reading.decoded import UnreadableImage
from tests import films as drawn
from tests.reading import dicom_files

CANONICAL = Canonical(24, "letterbox", 1.0, crop_borders=True)
GRAY = np.random.default_rng(0).integers(0, 255, (36, 40)).astype(np.uint8)


def text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "DICOM"])
def test_text_and_bytes_of_a_file_are_the_files_pixels(kind: str) -> None:
    film = drawn.film(1)
    wide = np.asarray(film, np.uint16) * 16
    content = dicom_files.dicom(wide) if kind == "DICOM" else drawn.encoded(film, kind)
    expected = prepare.from_bytes(content, CANONICAL)
    for image in (content, text(content), base64.encodebytes(content).decode("ascii")):
        np.testing.assert_array_equal(request_images.canonical_pixels(image, CANONICAL), expected)


def test_a_dicom_file_that_the_models_rule_does_not_take_is_refused() -> None:
    content = dicom_files.dicom(GRAY.astype(np.uint16) * 16, BodyPartExamined="HAND")
    request_images.canonical_pixels(content, CANONICAL)
    knees = dataclasses.replace(CANONICAL, dicom=DicomRule(body_parts=("KNEE",)))
    with pytest.raises(request_images.RefusedError, match="body part HAND is none of"):
        request_images.canonical_pixels(content, knees)
    with pytest.raises(UnreadableImage, match="body part HAND is none of"):
        prepare.from_bytes(content, knees)


@pytest.mark.parametrize(
    "values",
    [GRAY, GRAY.tolist(), GRAY[..., np.newaxis], GRAY.astype(np.float32), list(GRAY)],
    ids=["array", "lists", "with channel", "float", "list of rows"],
)
def test_gray_values_are_the_pixels_of_a_png_of_them(values: Any) -> None:
    expected = prepare.from_gray(GRAY, CANONICAL)
    np.testing.assert_array_equal(request_images.canonical_pixels(values, CANONICAL), expected)


def test_rows_in_an_array_of_objects_are_taken_too() -> None:
    rows = np.empty(len(GRAY), dtype=object)
    rows[:] = list(GRAY)
    expected = prepare.from_gray(GRAY, CANONICAL)
    np.testing.assert_array_equal(request_images.canonical_pixels(rows, CANONICAL), expected)


@pytest.mark.parametrize(
    "image",
    [
        "",
        "JANE DOE!",
        "J\u00e4ne",
        text(b"JANE DOE"),
        text(drawn.png(1)[:200]),
        b"",
        b"JANE DOE",
        "\ud800",
        None,
        True,
        5,
        {},
        [],
        [[]],
        [1, 2],
        [[1, 2], [3]],
        [["JANE DOE"]],
        ["JANE", "DOES"],
        [b"JANE", b"DOES"],
        [[1, "2"]],
        [[1, None]],
        [[1, True]],
        [[1.0, np.True_]],
        [[0, 1], [True, False]],
        [[1, 2], 3],
        [[1, 2], [[1], 2]],
        [[[1], [2]]],
        [{"a": 1}],
        [{1}],
        [[1, 2], []],
        [[1, 10**400]],
        [[1, 2**64]],
        [[1e308, 1]],
        [[0.0, 1e-300]],
        [[1, 2j]],
        np.array([["JANE", "DOE"]]),
        np.array([[True, False]]),
        np.array([[1, True], [2, "JANE"]], dtype=object),
        np.array(5),
        bytearray(drawn.png(1)),
        list(drawn.png(1)),
        [[None]],
        [[True, False]],
        [[256]],
        [[-1]],
        [[0.5]],
        [[float("nan")]],
        [[float("inf")]],
        [[-float("inf")]],
        [[10**400]],
        [[[1, 2, 3]]],
        np.zeros((1001, 1000), np.uint8),
    ],
    ids=lambda image: str(image)[:20],
)
def test_what_is_no_image_is_refused_without_being_quoted(image: Any) -> None:
    with pytest.raises(request_images.RefusedError) as caught:
        request_images.canonical_pixels(image, CANONICAL)
    assert "JANE" not in str(caught.value)
    assert "\n" not in str(caught.value)


BLANK = np.full((40, 50), 7, np.uint8)
BLANK_FILE = drawn.encoded(Image.fromarray(BLANK))


@pytest.mark.parametrize("image", [BLANK, BLANK.tolist(), BLANK_FILE, text(BLANK_FILE)])
def test_a_blank_is_refused_in_every_form(image: Any) -> None:
    with pytest.raises(request_images.RefusedError, match="blank"):
        request_images.canonical_pixels(image, CANONICAL)


RAMP = [[4 * (x + y) for x in range(32)] for y in range(32)]


@given(
    st.lists(st.integers(0, 255), min_size=32, max_size=32),
    st.sampled_from([int, float, np.uint8, np.float32]),
)
def test_gray_values_of_any_number_type_are_the_same_image(first: list[int], kind: Any) -> None:
    rows = [first, *RAMP[1:]]
    expected = prepare.from_gray(np.array(rows, np.uint8), CANONICAL)
    given_rows = [[kind(value) for value in row] for row in rows]
    for values in (given_rows, tuple(map(tuple, given_rows)), [*map(bytearray, rows)]):
        found = request_images.canonical_pixels(values, CANONICAL)
        np.testing.assert_array_equal(found, expected)


NO_GRAY_VALUES = st.one_of(
    st.integers(max_value=-1),
    st.integers(min_value=256),
    st.floats().filter(lambda value: not (0 <= value <= 255 and value.is_integer())),
    st.booleans(),
    st.text(),
    st.none(),
    st.lists(st.integers(0, 255)),
)


@given(NO_GRAY_VALUES, st.integers(0, 2), st.integers(0, 2))
def test_one_wrong_gray_value_is_enough_to_refuse(value: object, row: int, column: int) -> None:
    values: list[list[Any]] = [list(line) for line in RAMP]
    values[row][column] = value
    with pytest.raises(request_images.RefusedError):
        request_images.canonical_pixels(values, CANONICAL)


def test_rows_of_text_of_unequal_length_take_no_memory() -> None:
    values = [["a"] * 1000 for _ in range(100)] + [["b" * 10_000, *["c"] * 999]]
    tracemalloc.start()
    try:
        with pytest.raises(request_images.RefusedError):
            request_images.canonical_pixels(values, CANONICAL)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("line", [1, 3, 64, 76, 1000])
@pytest.mark.parametrize("size", [*range(1, 9), 95, 96, 97, 5000])
def test_text_in_pieces_is_the_file(line: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_images, "PIECE", 64)
    read = "knee.reading.image_formats.decode_radiograph"
    monkeypatch.setattr(read, lambda content, *_: SimpleNamespace(pixels=content, side=""))
    monkeypatch.setattr(prepare, "from_gray", lambda content, _: content)
    content = np.random.default_rng(size).bytes(size)
    whole = text(content)
    lines = "\r\n".join(whole[at : at + line] for at in range(0, len(whole), line))
    assert request_images.canonical_pixels(lines, CANONICAL) == content
    for wrong in (whole[:-1], f"{whole}{whole}=", f"{whole[:4]}={whole[4:]}", f" {whole}"):
        with pytest.raises(request_images.RefusedError):
            request_images.canonical_pixels(wrong, CANONICAL)


@pytest.mark.parametrize("prefix", ["data:image/png;base64,", "DATA:;base64,"])
def test_a_data_address_is_told_to_lose_its_prefix(prefix: str) -> None:
    with pytest.raises(request_images.RefusedError, match="leave out the prefix"):
        request_images.canonical_pixels(prefix + text(drawn.png(1)), CANONICAL)


def test_an_uncompressed_film_of_the_largest_size_fits_in_a_request() -> None:
    content = int(request_images.MEGAPIXELS * 1e6) * 2 + (1 << 20)  # its header
    assert content <= request_images.FILE_BYTES
    in_lines = request_images.FILE_BYTES * 4 // 3 * 78 // 76
    assert in_lines + 1000 <= request_images.BODY_BYTES
    assert request_images.LARGE_BODIES_BYTES >= request_images.BODY_BYTES


def test_a_file_above_the_limit_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_images, "FILE_BYTES", 1000)
    for image in (b"x" * 1001, text(b"x" * 1001)):
        with pytest.raises(request_images.RefusedError, match="larger than"):
            request_images.canonical_pixels(image, CANONICAL)
