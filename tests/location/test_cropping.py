"""The scale of a knee's square: by the joint's width, or by what the file says of its pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from knee.location import cropping
from knee.location.knees import Knee
from knee.reading.decoded import Decoded

FILM = np.zeros((900, 700), np.uint8)


def knee(width: float, x: float = 350.0) -> Knee:
    return Knee(x=x, y=400.0, width=width, score=1.0, lateral_right=0.5)


def decoded(spacing_mm: float) -> Decoded:
    return Decoded(FILM, "MONOCHROME2", "DICOM", 12, "", pixel_spacing_mm=spacing_mm)


@pytest.mark.parametrize("millimetres", [100.0, 140.0])
@pytest.mark.parametrize("spacing", [0.3, 0.5])
def test_a_square_has_its_millimetres_whatever_the_spacing_and_the_joint(
    spacing: float, millimetres: float
) -> None:
    found = [knee(60 / spacing, 200.0), knee(90 / spacing, 500.0)]
    images, doubts = cropping.cut_film(decoded(spacing), found, "", 1.84, millimetres)
    assert [image.box_side for image in images] == [round(millimetres / spacing)] * 2
    assert {image.scale for image in images} == {cropping.MILLIMETRES}
    assert doubts == []


@pytest.mark.parametrize(
    ("spacing", "doubt"),
    [
        (math.nan, cropping.NO_SPACING),
        (0.05, cropping.WRONG_SPACING),  # a joint of 10 mm
        (1.0, cropping.WRONG_SPACING),  # of 200 mm
    ],
)
def test_without_a_plausible_spacing_the_joints_width_counts_and_a_doubt_says_so(
    spacing: float, doubt: str
) -> None:
    images, doubts = cropping.cut_film(decoded(spacing), [knee(200.0)], "", 1.5, 140.0)
    assert [(image.box_side, image.scale) for image in images] == [(300, cropping.WIDTHS)]
    assert doubts == [doubt]


def test_one_joint_of_an_implausible_width_puts_both_on_the_scale_of_widths() -> None:
    found = [knee(200.0, 200.0), knee(90.0, 500.0)]
    images, doubts = cropping.cut_film(decoded(0.4), found, "", 1.5, 140.0)
    assert [image.box_side for image in images] == [300, 135]
    assert doubts == [cropping.WRONG_SPACING]


def test_by_default_a_spacing_changes_nothing() -> None:
    images, doubts = cropping.cut_film(decoded(0.4), [knee(200.0)], "", 1.5, 0.0)
    assert [(image.box_side, image.scale) for image in images] == [(300, cropping.WIDTHS)]
    assert doubts == []


def test_a_film_that_is_hardly_larger_than_its_square_is_left_and_nothing_is_doubtful() -> None:
    for spacing in (math.nan, 0.2):
        (image,), doubts = cropping.cut_film(decoded(spacing), [knee(500.0)], "", 1.84, 180.0)
        assert (image.scale, image.pixels is FILM, doubts) == (cropping.UNCUT, True, [])
    assert cropping.cut_film(decoded(0.2), [], "", 1.84, 140.0) == ([], [])
