"""Views of an image that are embedded beside it: its mirror image, small random changes.

Importable without TensorFlow. A view depends on (seed, row, view) alone, so that an embedding
that goes on after a kill ends as one that was never interrupted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from knee.classifier.features.feature_source import AUGMENTED, IMAGE, MIRROR
from knee.storage.arrays import Integers, Pixels

ROTATION_DEGREES = 7.0  # largest, either way
ZOOM_SHARE = 0.07  # largest, either way
BRIGHTNESS = 0.08  # largest shift, in shares of 255


@dataclass(frozen=True)
class Views:
    """Which views there are: of the `augmented` changed copies half are mirrored if `mirrored`."""

    mirrored: bool = False
    augmented: int = 0
    seed: int = 42

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind of each view, the image itself first."""
        return (IMAGE, *(MIRROR,) * self.mirrored, *(AUGMENTED,) * self.augmented)

    def of(self, images: Pixels, rows: Integers) -> Pixels:
        """All views of `images`, uint8 (n * views, side, side), those of an image side by side."""
        made = [self.make(images, rows, view) for view in range(len(self.kinds))]
        return np.stack(made, axis=1).reshape(-1, *images.shape[1:])

    def make(self, images: Pixels, rows: Integers, view: int) -> Pixels:
        """View number `view` of `images`, uint8 (n, side, side), which are `rows` of the pixels."""
        kind = self.kinds[view]
        if kind == IMAGE:
            return images
        if kind == MIRROR:
            return images[:, :, ::-1]
        return np.stack(
            [
                _changed(image, np.random.default_rng((self.seed, row, view)), self)
                for image, row in zip(images, rows.tolist(), strict=True)
            ]
        )


def _changed(image: Pixels, random: np.random.Generator, views: Views) -> Pixels:
    """Rotate and scale about the centre, shift the brightness; black outside."""
    angle = math.radians(random.uniform(-ROTATION_DEGREES, ROTATION_DEGREES))
    scale = 1 + random.uniform(-ZOOM_SHARE, ZOOM_SHARE)
    shift = 255 * random.uniform(-BRIGHTNESS, BRIGHTNESS)
    flip = -1.0 if views.mirrored and random.random() < 0.5 else 1.0
    centre = image.shape[0] / 2
    cosine, sine = math.cos(angle) * scale, math.sin(angle) * scale
    # Pillow wants, for each target pixel, where in the source it comes from.
    matrix = (
        flip * cosine,
        -sine,
        centre - centre * (flip * cosine - sine),
        flip * sine,
        cosine,
        centre - centre * (flip * sine + cosine),
    )
    size = (image.shape[1], image.shape[0])
    turned = Image.fromarray(image).transform(
        size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    shifted = np.clip(np.asarray(turned, np.float32) + np.float32(shift), 0, 255)
    return np.asarray(shifted.round(), np.uint8)
