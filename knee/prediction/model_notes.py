"""Sentences that hold for every answer of a model, by what its training recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

LEAKY: Final = "the model's figures are of a split with copies on both sides"
BLIND: Final = (
    "the out-of-distribution score of the model tells images that are no radiographs from "
    "radiographs with an AUC of only {:.2f} (0.5 is chance): no warning does not mean that an "
    "image is like those of the training"
)
UNTRIED: Final = (
    "the out-of-distribution score of the model was not tried (an earlier version trained it): no "
    "warning does not mean that an image is like those of the training"
)
TELLING_AUC: Final = 0.9  # and above: the score can be relied on for what is plainly no radiograph


def notes(training: Mapping[str, Any]) -> list[str]:
    """Return what holds for every answer of a model, by its training.json."""
    found = [LEAKY] if training["split_protocol"] == "random" else []
    novelty = training.get("novelty")
    if not novelty:  # without a score
        return found
    auc = novelty.get("non_radiographs", {}).get("auc")
    if auc is None:
        return [*found, UNTRIED]
    return found if auc >= TELLING_AUC else [*found, BLIND.format(auc)]
