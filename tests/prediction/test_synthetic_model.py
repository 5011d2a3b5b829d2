"""A model of drawn images never answers about others as if it were a model of radiographs."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from knee.prediction import synthetic_model
from knee.prediction.synthetic_model import Answerable
from knee.reading import prepare
from knee.reading.canonical_image import Canonical
from knee.storage import provenance
from knee.storage.arrays import Pixels

SIDE = 96
CANONICAL = Canonical(SIDE, "letterbox", 1.0)
OWN, OTHER = (np.full((8, 8), gray, np.uint8) for gray in (10, 11))
DRAWN: dict[str, Any] = {"synthetic": True, "synthetic_images": [provenance.image_digest(OWN)]}


def test_only_its_own_images_are_answered_without_the_flag() -> None:
    asked = Answerable.by(DRAWN, synthetic_model_ok=False)
    assert asked.refusal(OWN) == ""
    assert synthetic_model.FLAG in asked.refusal(OTHER)
    assert Answerable.by(DRAWN, synthetic_model_ok=True).refusal(OTHER) == ""


def test_a_model_that_lists_no_images_answers_none() -> None:
    assert Answerable.by({"synthetic": True}, synthetic_model_ok=False).refusal(OWN)


def test_a_model_of_radiographs_answers_all_without_a_warning() -> None:
    training = {"synthetic": False}
    assert Answerable.by(training, synthetic_model_ok=False).refusal(OTHER) == ""
    assert synthetic_model.warning(training) == ""
    assert synthetic_model.warning(DRAWN)


def composite(random: np.random.Generator) -> Pixels:
    """What looks like a radiograph: two shafts with a grained texture in soft tissue on black."""
    across = np.arange(SIDE) - SIDE / 2
    tissue = 90 * np.exp(-(np.square(across / random.uniform(20, 30)) ** 2))
    grain = random.normal(0, 1, (SIDE // 4, SIDE // 4)).repeat(4, 0).repeat(4, 1)
    shafts = sum(np.exp(-np.square((across - at) / 6)) for at in random.uniform(-18, 18, 2))
    values = tissue + (90 + 25 * grain) * shafts + random.normal(0, 4, (SIDE, SIDE))
    return np.asarray(values.clip(0, 255), np.uint8)


def test_what_looks_like_a_radiograph_is_refused_and_so_is_an_altered_image_of_its_own() -> None:
    random = np.random.default_rng(0)
    own = [composite(random) for _ in range(20)]
    listed = {"synthetic": True, "synthetic_images": [*map(provenance.image_digest, own)]}
    asked = Answerable.by(listed, synthetic_model_ok=False)
    others = [composite(random) for _ in range(20)]
    altered = [change(image) for image in own for change in (np.fliplr, np.flipud, np.invert)]
    assert all(asked.refusal(image) for image in [*others, *altered])
    for image in own:  # saved again without loss, its content is the same
        content = io.BytesIO()
        Image.fromarray(image).save(content, "BMP")
        assert not asked.refusal(prepare.from_bytes(content.getvalue(), CANONICAL))
