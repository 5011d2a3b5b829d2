"""What shows nothing, or is a drawing, is refused; what radiographs look like passes."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from knee.reading import content_check, image_formats
from knee.reading.content_check import SMALLEST_SIDE_PIXELS
from knee.reading.decoded import UnreadableImage
from knee.storage.arrays import Pixels
from tests.films import encoded, film
from tests.reading.dicom_files import dicom

RANDOM = np.random.default_rng(0)
GRAY = np.asarray(film(0))


def outlines(*levels: int, height: int = 224, width: int = 180) -> Image.Image:
    """A label map: an ellipse of each level on black."""
    y, x = np.mgrid[0:height, 0:width]
    drawn = np.zeros((height, width), np.uint8)
    for number, level in enumerate(levels):
        middle = (number + 0.5) * height / len(levels)
        drawn[((x - width / 2) / 60) ** 2 + ((y - middle) / (35 / len(levels) + 20)) ** 2 < 1] = (
            level
        )
    return Image.fromarray(drawn)


def stray(share: float) -> Image.Image:
    """Black with some pixels of any value."""
    pixels = np.zeros((200, 200), np.uint8)
    pixels.ravel()[RANDOM.permutation(pixels.size)[: int(share * pixels.size)]] = 200
    return Image.fromarray(pixels)


def marked() -> Image.Image:
    """A blank with a burnt-in marker."""
    image = Image.new("L", (300, 300), 30)
    image.paste(250, (20, 20, 56, 60))
    return image


def noisy(level: int) -> Image.Image:
    """A blank as JPEG gives it back."""
    return Image.fromarray((level + RANDOM.normal(0, 2, (99, 99))).clip(0, 255).astype(np.uint8))


blanks: dict[str, Callable[[], bytes]] = {
    "black": lambda: encoded(Image.new("L", (300, 300))),
    "white": lambda: encoded(Image.new("L", (300, 300), 255)),
    "colour": lambda: encoded(Image.new("RGB", (64, 64), (9, 200, 30))),
    "transparent": lambda: encoded(Image.merge("LA", (film(0), Image.new("L", film(0).size)))),
    "stray pixels": lambda: encoded(stray(0.015)),
    "marker": lambda: encoded(marked()),
    "noise in JPEG": lambda: encoded(noisy(0), "JPEG", quality=75),
    "noise": lambda: encoded(noisy(120)),
    "labels 0, 1, 2": lambda: encoded(outlines(1, 2)),
    "deep TIFF": lambda: encoded(Image.fromarray(np.full((50, 50), 900, np.uint16)), "TIFF"),
    "DICOM": lambda: dicom(np.full((50, 50), 900, np.uint16)),
}
drawings: dict[str, Callable[[], bytes]] = {
    "1 bit": lambda: encoded(outlines(255).convert("1")),
    "two values": lambda: encoded(outlines(255)),
    "two near values": lambda: encoded(outlines(60)),
    "two values in DICOM": lambda: dicom(np.asarray(outlines(255), np.uint16) * 16),
    "label map": lambda: encoded(outlines(60, 120, 180, 240)),
    "resized": lambda: encoded(outlines(255).resize((333, 300), Image.Resampling.BICUBIC)),
    **{
        f"JPEG {quality}, {values}": functools.partial(
            encoded, outlines(*values), "JPEG", quality=quality
        )
        for quality in (95, 75, 50)
        for values in ((255,), (120, 250))
    },
}
shapes = {
    "1 x 1": (1, 1),
    "8 x 8": (8, 8),
    "1 x 5000": (5000, 1),
    "5000 x 1": (1, 5000),
    "a strip": (34, 400),
    "a hair too small": (SMALLEST_SIDE_PIXELS - 1, 100),
}


@pytest.mark.parametrize("name", blanks)
def test_a_blank_is_refused(name: str) -> None:
    with pytest.raises(UnreadableImage, match=r"^blank: 98% of its pixels"):
        image_formats.decode_radiograph(blanks[name](), 1)


@pytest.mark.parametrize("name", drawings)
def test_a_mask_or_drawing_is_refused(name: str) -> None:
    with pytest.raises(UnreadableImage, match=r"^a mask, label map or drawing"):
        image_formats.decode_radiograph(drawings[name](), 1)


@pytest.mark.parametrize("name", shapes)
def test_a_shape_that_no_radiograph_has_is_refused_with_its_size(name: str) -> None:
    height, width = shapes[name]
    content = encoded(Image.fromarray(RANDOM.integers(0, 256, (height, width), np.uint8)))
    with pytest.raises(UnreadableImage, match=rf"^{width} x {height} px is (small|narrow)er than"):
        image_formats.decode_radiograph(content, 1)


def on_black(share: float) -> Pixels:
    """A radiograph that fills this share of a black plate."""
    height, width = (round(side / np.sqrt(share)) for side in GRAY.shape)
    plate = np.zeros((height, width), np.uint8)
    plate[: GRAY.shape[0], : GRAY.shape[1]] = GRAY
    return plate


passing: dict[str, Pixels] = {
    "film": GRAY,
    "its negative": 255 - GRAY,
    "low contrast": 100 + GRAY // 7,  # 37 gray values, as the flattest of 6,604 real crops
    "4 bits": GRAY // 16 * 17,
    "small on a plate": on_black(0.1),
    "smallest": np.asarray(film(1).resize((SMALLEST_SIDE_PIXELS,) * 2)),
    "ten times as long": np.tile(GRAY[:40, :40], (10, 1)),
}


@pytest.mark.parametrize("name", passing)
def test_a_radiograph_passes(name: str) -> None:
    content_check.check(passing[name])


@given(st.integers(0, 255), st.integers(32, 80), st.integers(32, 80), st.integers(0, 8))
def test_no_blank_passes_whatever_its_level_size_and_noise(
    level: int, height: int, width: int, spread: int
) -> None:
    noise = np.random.default_rng(level).integers(-spread, spread + 1, (height, width))
    with pytest.raises(UnreadableImage, match="blank"):
        content_check.check((level + noise).clip(0, 255).astype(np.uint8))


@given(st.lists(st.integers(0, 255), min_size=2, max_size=8, unique=True), st.integers(0, 99))
def test_no_image_of_a_few_values_passes(values: list[int], seed: int) -> None:
    pixels = np.random.default_rng(seed).choice(np.array(values, np.uint8), (40, 50))
    with pytest.raises(UnreadableImage, match=r"blank|a few gray values"):
        content_check.check(pixels)


def test_a_jpeg_of_a_film_passes_at_any_usual_quality() -> None:
    for quality in (30, 50, 75, 95):
        stream = io.BytesIO()
        film(2).save(stream, "JPEG", quality=quality)
        image_formats.decode_radiograph(stream.getvalue(), 1)
