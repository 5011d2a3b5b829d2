"""Sentences that hold for every answer of a model, by what its training recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

SYNTHETIC: Final = "the model was trained on synthetic images: its answers say nothing of patients"
LEAKY: Final = "the model's figures are of a split with copies on both sides"
BLIND: Final = (
    "the out-of-distribution score of the model tells images that are no radiographs from "
    "radiographs with an AUC of only {:.2f} (0.5 is chance): no warning does not mean that an "
    "image is like those of the training"
)
TELLING_AUC: Final = 0.9  # and above: the score can be relied on for what is plainly no radiograph


def notes(training: Mapping[str, Any]) -> list[str]:
    """Return what holds for every answer of a model, by its training.json."""
    found = [SYNTHETIC] if training["synthetic"] else []
    found += [LEAKY] if training["split_protocol"] == "random" else []
    tried = (training.get("novelty") or {}).get("non_radiographs") or {}
    auc = tried.get("auc")
    return found + ([BLIND.format(auc)] if auc is not None and auc < TELLING_AUC else [])
