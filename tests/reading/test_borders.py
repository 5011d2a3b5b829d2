import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from knee.reading.borders import Borders, crop, measure
from knee.storage.arrays import Pixels
from tests.films import film

PICTURE = np.asarray(film(0))
widths = st.integers(0, 30)


def framed(picture: Pixels, borders: Borders, level: int) -> Pixels:
    rows, columns = (borders.top, borders.bottom), (borders.left, borders.right)
    return np.pad(picture, (rows, columns), constant_values=level)


def as_jpeg(pixels: Pixels, quality: int) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


@given(st.builds(Borders, widths, widths, widths, widths), st.sampled_from([0, 90, 255]))
def test_bars_of_any_level_are_measured_and_cut_off(borders: Borders, level: int) -> None:
    pixels = framed(PICTURE, borders, level)
    assert measure(pixels) == borders
    np.testing.assert_array_equal(crop(pixels, borders), PICTURE)


def test_each_side_has_a_level_of_its_own() -> None:
    pixels = framed(framed(PICTURE, Borders(left=4), 255), Borders(right=7), 0)
    assert measure(pixels) == Borders(left=4, right=7)


def test_bars_within_bars_count_together() -> None:
    inner = framed(PICTURE, Borders(5, 5, 0, 0), 0)
    pixels = framed(framed(inner, Borders(0, 0, 6, 6), 255), Borders(2, 3, 0, 0), 128)
    assert measure(pixels) == Borders(7, 8, 6, 6)


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("quality", [50, 75, 95])
def test_compression_hides_no_more_than_its_own_block(level: int, quality: int) -> None:
    borders = Borders(20, 13, 9, 30)
    found = measure(as_jpeg(framed(PICTURE, borders, level), quality))
    for side in ("top", "bottom", "left", "right"):
        assert getattr(borders, side) - 8 < getattr(found, side) <= getattr(borders, side)


@pytest.mark.parametrize("level", [0, 90, 255])
def test_a_uniform_image_has_no_border(level: int) -> None:
    assert measure(np.full((20, 30), level, np.uint8)) == Borders()
    assert measure(np.full((1, 1), level, np.uint8)) == Borders()


def test_a_marker_ends_the_border() -> None:
    pixels = framed(PICTURE, Borders(top=30), 0)
    pixels[12:16, 40:44] = 255
    assert measure(pixels).top == 12


def test_a_noisy_background_is_no_border() -> None:
    noise = np.random.default_rng(0).normal(60, 12, (80, 80))
    assert measure(np.clip(noise, 0, 255).astype(np.uint8)) == Borders()
