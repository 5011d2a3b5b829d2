"""The canonical image: decoded pixels brought to the square that a model takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from PIL import Image

from knee.storage.arrays import Pixels

if TYPE_CHECKING:
    from knee.run import parameters

# Means of whole blocks come first where the image is at least twice as much larger: four times as
# fast for an image of 8 megapixels, within a gray level or two, and nothing changes up to then.
REDUCING_GAP: Final = 3.0


@dataclasses.dataclass(frozen=True)
class DicomRule:
    """Which DICOM images are taken as radiographs, beside what holds for all."""

    body_parts: Sequence[str] = ()  # Body Part Examined, where the header tells one; empty: any
    modalities: Sequence[str] = ()  # taken although they are none of radiographs
    secondary_capture: bool = True  # whether secondary captures are taken
    views: Sequence[str] = ()  # words of View Position, where the header tells one; empty: any

    @classmethod
    def of(cls, ingest: parameters.Ingest) -> DicomRule:
        """Return the rule of the section `ingest` of the parameters."""
        return cls(ingest.body_parts, ingest.modalities, ingest.secondary_capture, ingest.views)

    def as_facts(self) -> dict[str, Any]:
        """Return the rule as a training's record keeps it: JSON values alone."""
        return {
            "body_parts": [*self.body_parts],
            "modalities": [*self.modalities],
            "secondary_capture": self.secondary_capture,
            "views": [*self.views],
        }


@dataclasses.dataclass(frozen=True)
class Canonical:
    """Settings by which an image becomes its canonical pixels."""

    side_pixels: int  # of the square
    fit: Literal["letterbox", "squash", "crop"]
    maximum_megapixels: float  # larger images are rejected unread
    crop_borders: bool = False  # whether uniform margins are cut off first
    typical_image: str = ""  # of a training, as negatives.as_text: its negatives are refused
    dicom: DicomRule = DicomRule()


def fit(pixels: Pixels, side_pixels: int, how: Literal["letterbox", "squash", "crop"]) -> Pixels:
    """Return `pixels`, uint8 (height, width), as uint8 (side, side), without new extreme values.

    letterbox keeps the aspect ratio and pads with black, equally on both sides (an odd line goes
    to the right or the bottom). squash fills the square. crop keeps the aspect ratio of the largest
    square in the middle, and loses what is beside it. The right size is left untouched.
    """
    height, width = pixels.shape
    if how == "crop":
        shorter = min(height, width)
        top, left = (height - shorter) // 2, (width - shorter) // 2
        square = pixels[top : top + shorter, left : left + shorter]
        return resize(square, side_pixels, side_pixels)
    if how == "squash":
        return resize(pixels, side_pixels, side_pixels)
    longer = max(height, width)
    inner_height = max(1, round(height * side_pixels / longer))
    inner_width = max(1, round(width * side_pixels / longer))
    top, left = (side_pixels - inner_height) // 2, (side_pixels - inner_width) // 2
    padded = np.zeros((side_pixels, side_pixels), np.uint8)
    padded[top : top + inner_height, left : left + inner_width] = resize(
        pixels, inner_height, inner_width
    )
    return padded


def resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """Return `pixels` as uint8 (height, width), antialiased, without overshoot."""
    if pixels.shape == (height, width):
        return pixels
    shrinks = pixels.shape[0] >= height and pixels.shape[1] >= width
    # Hamming is the sharpest of Pillow's filters with no negative weight, but blocky in enlarging.
    method = Image.Resampling.HAMMING if shrinks else Image.Resampling.BILINEAR
    image = Image.fromarray(pixels).resize((width, height), method, reducing_gap=REDUCING_GAP)
    return np.array(image, np.uint8)
