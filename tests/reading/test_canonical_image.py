from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from knee.reading.canonical_image import fit, resize
from knee.storage.arrays import Pixels

images = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40))
fits = st.sampled_from(["letterbox", "squash", "crop"])


@given(images, st.integers(1, 24), fits)
def test_fit_gives_the_square_and_invents_no_value(
    image: Pixels, side: int, how: Literal["letterbox", "squash", "crop"]
) -> None:
    square = fit(image, side, how)
    assert square.shape == (side, side)
    assert square.dtype == np.uint8
    assert square.max() <= image.max()
    if how != "letterbox":
        assert square.min() >= image.min()


@given(st.integers(1, 200), st.integers(1, 200), st.integers(8, 32))
def test_letterbox_keeps_the_aspect_ratio_and_pads_with_black(
    height: int, width: int, side: int
) -> None:
    square = fit(np.full((height, width), 200, np.uint8), side, "letterbox")
    rows, columns = square.any(axis=1).sum(), square.any(axis=0).sum()
    assert max(rows, columns) == side
    assert abs(rows - max(1, height * side / max(height, width))) <= 0.5
    assert abs(columns - max(1, width * side / max(height, width))) <= 0.5
    assert set(np.unique(square)) <= {0, 200}


def test_letterbox_centres_the_image() -> None:
    square = fit(np.full((2, 8), 9, np.uint8), 8, "letterbox")
    assert square.any(axis=1).tolist() == [False] * 3 + [True] * 2 + [False] * 3


@pytest.mark.parametrize("turned", [False, True])
def test_crop_keeps_the_largest_square_in_the_middle(turned: bool) -> None:
    image = np.zeros((8, 20), np.uint8)
    image[:, 6:14] = np.arange(64, dtype=np.uint8).reshape(8, 8) + 1
    image = image.T if turned else image
    expected = image[6:14] if turned else image[:, 6:14]
    np.testing.assert_array_equal(fit(image, 8, "crop"), expected)


def test_much_larger_images_are_averaged_over_all_of_their_pixels() -> None:
    noise = np.random.default_rng(0).integers(0, 201, (1600, 1600)).astype(np.uint8)
    assert np.abs(resize(noise, 16, 16).astype(int) - 100).max() <= 4


@given(hnp.arrays(np.uint8, (16, 16)), fits)
def test_the_right_size_is_left_untouched(
    image: Pixels, how: Literal["letterbox", "squash", "crop"]
) -> None:
    np.testing.assert_array_equal(fit(image, 16, how), image)


def test_shrinking_averages_instead_of_picking_single_pixels() -> None:
    checkerboard = (np.indices((64, 64)).sum(axis=0) % 2 * 200).astype(np.uint8)
    assert np.abs(fit(checkerboard, 8, "squash").astype(int) - 100).max() <= 5
