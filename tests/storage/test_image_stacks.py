"""Stacks of images in a file: as an array, nothing left on the disk, wrong images refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knee.storage.image_stacks import ChosenImages, ImageStack, blocks

IMAGES = np.random.default_rng(0).integers(0, 256, (9, 4, 4), np.uint8)


def stack(folder: Path | None = None) -> ImageStack:
    made = ImageStack(4, folder)
    made.extend(IMAGES[:5])
    made.extend(IMAGES[5:5])
    made.extend(IMAGES[5:])
    return made


@given(st.lists(st.integers(0, 8)), st.integers(0, 9), st.integers(0, 9))
def test_a_stack_is_read_as_the_array_of_its_images(rows: list[int], start: int, stop: int) -> None:
    made, chosen = stack(), np.array(rows, np.int64)
    np.testing.assert_array_equal(made[chosen], IMAGES[chosen])
    np.testing.assert_array_equal(made[start:stop], IMAGES[start:stop])
    picked = ChosenImages(made, chosen, np.invert)
    np.testing.assert_array_equal(picked[start:stop], ~IMAGES[chosen][start:stop])
    assert sum(map(len, blocks(picked))) == len(picked) == len(rows)


def test_a_stack_leaves_no_name_in_its_folder(tmp_path: Path) -> None:
    made = stack(tmp_path)
    assert not list(tmp_path.iterdir())
    np.testing.assert_array_equal(made[:], IMAGES)


@pytest.mark.parametrize("row", [-1, 9])
def test_an_image_that_is_not_there_is_refused(row: int) -> None:
    with pytest.raises(IndexError, match=f"image {row} of 9"):
        stack()[np.array([row])]


def test_images_of_another_size_or_type_are_refused() -> None:
    for wrong in (np.zeros((1, 5, 4), np.uint8), np.zeros((1, 4, 4), np.int64)):
        with pytest.raises(ValueError, match="expected uint8"):
            stack().extend(np.asarray(wrong, wrong.dtype))
