"""Images of a request lead to the pixels that ingest makes of a file, or are refused."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from PIL import Image

from knee.prediction import request_images
from knee.reading import prepare
from knee.reading.canonical_image import Canonical
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


def test_a_file_above_the_limit_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_images, "FILE_BYTES", 1000)
    for image in (b"x" * 1001, text(b"x" * 1001)):
        with pytest.raises(request_images.RefusedError, match="larger than"):
            request_images.canonical_pixels(image, CANONICAL)
