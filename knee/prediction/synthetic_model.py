"""A model of synthetic images answers about those images only, and says what it is in every answer.

Its training.json lists the images that it was made with, by their canonical pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from knee.storage import provenance
from knee.storage.arrays import Pixels

FLAG: Final = "--synthetic-model-ok"
COLUMN: Final = "synthetic_model"  # of tables, and key of JSON answers: comes first
WARNING: Final = (
    "SYNTHETIC MODEL: it learned from drawn images, and its answers say nothing about any patient"
)
REFUSAL: Final = (
    "the model learned from drawn images, of which this is none: ask a model of radiographs "
    f"(`make films` trains one), or give {FLAG} for an answer that says nothing about a patient"
)


def warning(training: Mapping[str, Any]) -> str:
    """Return what every answer of a model begins with, by its training.json; "" of most models."""
    return WARNING if training["synthetic"] else ""


@dataclass(frozen=True)
class Answerable:
    """The images that a model may be asked about."""

    any_image: bool
    digests: frozenset[str]  # of canonical pixels

    @classmethod
    def by(cls, training: Mapping[str, Any], *, synthetic_model_ok: bool) -> Answerable:
        """Any image, except for a model of synthetic images that are not `synthetic_model_ok`."""
        any_image = synthetic_model_ok or not training["synthetic"]
        return cls(any_image, frozenset(training.get("synthetic_images", ())))

    def refusal(self, pixels: Pixels) -> str:
        """Return why the image with these canonical pixels is not answered; "" if it is."""
        known = self.any_image or provenance.image_digest(pixels) in self.digests
        return "" if known else REFUSAL
