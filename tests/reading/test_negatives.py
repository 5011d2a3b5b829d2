"""Negatives: told from all that is upright, of any brightness, and never from a small set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from knee.reading import negatives, prepare
from knee.reading.canonical_image import Canonical
from knee.reading.decoded import UnreadableImage
from knee.storage.arrays import Pixels
from tests.films import film


def knees(count: int) -> Pixels:
    """Images of one view, uint8 (count, 96, 96)."""
    images = [
        Image.blend(film(1000), film(number), 0.3).resize((96, 96)) for number in range(count)
    ]
    return np.stack([np.asarray(image) for image in images])


SET = knees(negatives.MINIMUM_IMAGES)
TYPICAL = negatives.median_image(SET)


@given(st.integers(0, len(SET) - 1), st.floats(0.3, 1.0), st.floats(0, 60), st.floats(0.6, 1.6))
def test_the_negative_of_any_image_is_told_from_it_whatever_its_exposure(
    number: int, contrast: float, black: float, gamma: float
) -> None:
    assert TYPICAL is not None
    shown = 255 * (SET[number] / 255.0) ** gamma * contrast + black
    gray = np.clip(shown, 0, 255).astype(np.uint8)
    upright, negative = negatives.correlations(np.stack([gray, 255 - gray]), TYPICAL)
    assert negative == pytest.approx(-upright, abs=0.02)
    assert negative <= negatives.CORRELATION < -negatives.CORRELATION <= upright


def test_few_images_have_no_typical_one() -> None:
    assert negatives.median_image(SET[1:]) is None
    assert not len(negatives.find(np.concatenate([SET[2:], 255 - SET[:1]])))


def test_a_typical_image_is_the_same_after_its_way_through_a_record() -> None:
    assert TYPICAL is not None
    np.testing.assert_array_equal(negatives.of_text(negatives.as_text(TYPICAL)), TYPICAL)
    assert not negatives.as_text(None)


def test_a_model_that_knows_what_images_are_like_refuses_their_negatives() -> None:
    canonical = Canonical(32, "letterbox", 1.0, typical_image=negatives.as_text(TYPICAL))
    assert prepare.from_gray(SET[0], canonical).shape == (32, 32)
    with pytest.raises(UnreadableImage, match="photographic negative"):
        prepare.from_gray(255 - SET[0], canonical)
    assert prepare.from_gray(255 - SET[0], Canonical(32, "letterbox", 1.0)).shape == (32, 32)
