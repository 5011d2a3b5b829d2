"""A model of located knees cuts a film as its training's images were cut."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from knee.location import cropping, locator_weights
from knee.prediction.film_knees import Locator
from knee.reading.canonical_image import Canonical
from knee.reading.decoded import Decoded
from tests.location.legs import bilateral


@pytest.fixture(scope="module")
def locator() -> Locator:
    """The project's search, as a training by millimetres would keep it."""
    weights = locator_weights.read(locator_weights.PATH, locator_weights.recorded_sha256())
    return Locator(weights, 1.84, 140.0, Canonical(32, "letterbox", 64.0))


def test_the_models_millimetres_count_where_a_film_tells_its_spacing(locator: Locator) -> None:
    image = Decoded(bilateral(), "MONOCHROME2", "DICOM", 12, "")
    by_widths = locator.find(image)
    assert by_widths.note.startswith(cropping.NO_SPACING)
    spacing = 70 / float(np.mean([one.knee.width for one in by_widths.knees]))
    by_millimetres = locator.find(dataclasses.replace(image, pixel_spacing_mm=spacing))
    assert "scale" not in by_millimetres.note
    assert [one.box_side for one in by_millimetres.knees] == [round(140 / spacing)] * 2
    earlier = dataclasses.replace(locator, box_millimetres=0.0)
    off = earlier.find(dataclasses.replace(image, pixel_spacing_mm=spacing))
    assert [one.box_side for one in off.knees] == [one.box_side for one in by_widths.knees]
    assert "scale" not in off.note


def test_the_note_of_a_film_begins_with_what_is_doubtful_about_how_it_is_shown(
    locator: Locator,
) -> None:
    image = Decoded(bilateral(), "RGB", "PNG", 8, "png", note="colour: doubtful")
    assert locator.find(image).note == f"colour: doubtful; {cropping.NO_SPACING}"
