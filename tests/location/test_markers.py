"""Lead letters on films: which side they name, whether they read backwards, and what follows."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from knee.location import cropping, knees, markers
from knee.reading.decoded import Decoded
from knee.storage.arrays import Pixels
from tests.location.legs import bilateral, drawn


def plate(letter: str, height: int, *, wide: float = 1.0) -> Pixels:
    """A light plate with a dark letter."""
    image = Image.new("L", (height, height), 220)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(0.7 * height)
    draw.text((height / 2, height / 2), letter, 60, font, "mm", stroke_width=height // 30)
    return np.asarray(image.resize((round(wide * height), height)))


def film_of(*plates: tuple[Pixels, int, int], height: int = 900, width: int = 700) -> Pixels:
    """A dark film of some noise with plates at x and y."""
    noise = np.random.default_rng(0).integers(0, 40, (height, width), dtype=np.uint8)
    return with_plates(noise, *plates)


def with_plates(film: Pixels, *plates: tuple[Pixels, int, int]) -> Pixels:
    film = film.copy()
    for one, x, y in plates:
        film[y : y + one.shape[0], x : x + one.shape[1]] = one
    return film


@pytest.mark.parametrize("height", [30, 50, 90])
@pytest.mark.parametrize("wide", [1.0, 1.6])
@pytest.mark.parametrize(("letter", "side"), [("R", "right"), ("L", "left")])
def test_a_letter_is_read_in_any_size_and_in_the_mirror(
    letter: str, side: str, wide: float, height: int
) -> None:
    film = film_of((plate(letter, height, wide=wide), 100, 200))
    (one,) = markers.read(film)
    assert (one.side, one.mirrored) == (side, False)
    middle = (100 + wide * height / 2, 200 + height / 2)
    assert (one.x, one.y) == pytest.approx(middle, abs=4)
    (mirrored,) = markers.read(np.ascontiguousarray(film[:, ::-1]))
    assert (mirrored.side, mirrored.mirrored) == (side, True)


def test_what_is_no_plate_with_one_of_the_letters_is_not_read() -> None:
    for other in ("", "A", "B", "K", "O", "12", "AP"):
        assert markers.read(film_of((plate(other, 50), 100, 200))) == []
    assert all(markers.read(one.pixels) == [] for one in drawn())
    assert markers.read(bilateral()) == []


def found_on(film: Pixels, side: str = "") -> tuple[list[str], list[str]]:
    """Sides and doubts of a film."""
    image = Decoded(film, "L", "PNG", 8, "png")
    images, doubts = cropping.cut_film(image, knees.locate(film), side, 1.84, 0.0)
    return [one.side for one in images], doubts


def test_a_mirrored_film_of_two_knees_is_told_by_its_markers_alone() -> None:
    film = bilateral()
    height, width = film.shape
    size = max(height // 16, 12)
    right, left = plate("R", size), plate("L", size)
    upright = with_plates(film, (right, 2, 2), (left, width - size - 2, 2))
    assert found_on(film) == (["right", "left"], [])
    assert found_on(upright) == (["right", "left"], [])
    mirrored = np.ascontiguousarray(upright[:, ::-1])
    assert found_on(mirrored) == (["right", "left"], [cropping.BACKWARDS])
    behind = with_plates(film, (left, 2, 2), (right, width - size - 2, 2))
    assert found_on(behind) == (["right", "left"], [cropping.OTHER_SIDE])
    for one, x, doubts in (
        (right, 2, []),
        (left, 2, [cropping.OTHER_SIDE]),
        (right, width - size - 2, [cropping.OTHER_SIDE]),
    ):
        assert found_on(with_plates(film, (one, x, 2)))[1] == doubts


def test_a_lone_knee_of_which_nothing_else_is_told_has_the_side_of_its_marker() -> None:
    leg = next(one for one in drawn()[::2] if one.lateral_right).pixels  # a left leg
    size = max(len(leg) // 16, 12)
    film = np.pad(leg, ((0, 0), (size + 4, 0)))
    marked = with_plates(film, (plate("L", size), 2, 2))
    assert found_on(film) == ([""], [])
    assert found_on(marked) == (["left"], [])
    assert found_on(marked, "left") == (["left"], [])
    sides, doubts = found_on(marked, "right")
    assert (sides, doubts[-1]) == (["right"], cropping.OTHER_SIDE)
    sides, doubts = found_on(np.ascontiguousarray(marked[:, ::-1]))
    assert (sides, doubts) == ([""], [cropping.BACKWARDS])
