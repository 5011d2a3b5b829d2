"""A model of drawn images never answers about others as if it were a model of radiographs."""

from __future__ import annotations

from typing import Any

import numpy as np

from knee.prediction import synthetic_model
from knee.prediction.synthetic_model import Answerable
from knee.storage import provenance

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
