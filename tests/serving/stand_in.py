"""Answers without a model: by the image's mean gray value, in the name of a hostile model."""

from __future__ import annotations

import io
import threading
from typing import Any

import numpy as np
from PIL import Image

from knee.prediction import request_images
from knee.prediction.graph_answers import Answered
from knee.reading.canonical_image import Canonical

HOSTILE = "<script>alert(1)</script>"
CANONICAL = Canonical(64, "letterbox", 1.0)


class StandIn:
    """In the place of `Answers`."""

    explains = True

    def __init__(self) -> None:
        self.model = {"name": HOSTILE, "version": "3", "backbone": "tiny"}
        self.training: dict[str, Any] = {
            "synthetic": True,
            "split_protocol": "grouped",
            "conformal": {"level": 0.9},
        }
        self.asked: list[tuple[list[object], bool]] = []

    def answer(
        self, images: list[object], *, explain: bool, abandoned: threading.Event
    ) -> list[Answered]:
        """Answer, and remember what was asked."""
        assert not abandoned.is_set()
        self.asked.append((images, explain))
        return [self._one(*numbered, explain) for numbered in enumerate(images, 1)]

    def _one(self, number: int, image: object, explain: bool) -> Answered:
        try:
            pixels = request_images.canonical_pixels(image, CANONICAL)
        except request_images.RefusedError as reason:
            raise request_images.RefusedError(f"image {number}: {reason}") from None
        is_bright = bool(pixels.mean() > 200)
        content = io.BytesIO()
        Image.fromarray(np.stack([pixels] * 3, axis=-1)).save(content, format="PNG")
        values = {
            "class": HOSTILE,
            "probabilities": {HOSTILE: 0.75, "Osteopenia": 0.2499, "Osteoporosis": 0.0001},
            "prediction_set": [HOSTILE, "Osteopenia"],
            "out_of_distribution": 1.5 if is_bright else 0.25,
            "is_out_of_distribution": is_bright,
            "warning": "unlike the radiographs" if is_bright else "",
            "notes": [],
            "model": self.model,
        }
        return Answered(values, pixels, content.getvalue() if explain else None)
