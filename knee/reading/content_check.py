"""The check that decoded pixels can be a radiograph at all: large enough, with enough gray values.

Of 10,384 real knee radiographs and crops of two collections, none comes near a limit: three bands
hold at most 94.8 % of an image's pixels, one band of 17 gray values 88.4 % (narrow views of whole
legs on black), and the most frequent eight values 86 %.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image

from knee.reading.decoded import UnreadableImage
from knee.storage.arrays import Floats, Pixels

SMALLEST_SIDE_PIXELS: Final = 24  # a smaller image shows no joint space or texture of bone
LARGEST_ASPECT: Final = 10.0  # longer / shorter side; whole-leg radiographs have about 4
BLANK_BAND: Final = 17  # gray values: JPEG's noise about one of them
BLANK_SHARE: Final = 0.98  # of the pixels; the others may be stray ones, or a marker
FEW_VALUES: Final = 8  # such as those of a label map
FEW_SHARE: Final = 0.99
BANDS: Final = 3  # of a mask or label map in JPEG, or resized: values and their ringing
BAND_SHARE: Final = 1 / 8  # width of each, of the image's own range
BANDS_SHARE: Final = 0.97
RANGE: Final = (0.001, 0.999)  # quantiles between which the image's own range lies


def check(pixels: Pixels) -> None:
    """Raise `UnreadableImage` for `pixels`, uint8 (height, width), that are no radiograph."""
    height, width = pixels.shape
    if min(height, width) < SMALLEST_SIDE_PIXELS:
        least = f"{SMALLEST_SIDE_PIXELS} x {SMALLEST_SIDE_PIXELS} px are the least"
        raise UnreadableImage(f"{width} x {height} px is smaller than any radiograph: {least}")
    if max(height, width) > LARGEST_ASPECT * min(height, width):
        most = f"{LARGEST_ASPECT:g} times as long as wide is the most"
        raise UnreadableImage(f"{width} x {height} px is narrower than any radiograph: {most}")
    shares = np.array(Image.fromarray(pixels).histogram(), np.float64) / pixels.size
    if _in_bands(shares, 1, BLANK_BAND) >= BLANK_SHARE:
        raise UnreadableImage(
            f"blank: {BLANK_SHARE:.0%} of its pixels or more have one gray value, or nearly"
        )
    low, high = np.searchsorted(shares.cumsum(), RANGE)
    few = np.sort(shares)[-FEW_VALUES:].sum() >= FEW_SHARE
    if few or _in_bands(shares, BANDS, 1 + round((high - low) * BAND_SHARE)) >= BANDS_SHARE:
        raise UnreadableImage(
            "a mask, label map or drawing: nearly all of its pixels have one of a few gray values"
        )


def _in_bands(shares: Floats, bands: int, width: int) -> float:
    """Share of the pixels, 0-1, in the fullest bands of `width` gray values each."""
    left, total = shares.copy(), 0.0
    for _ in range(bands):
        sums = np.convolve(left, np.ones(width), "valid")
        start = int(sums.argmax())
        total += float(sums[start])
        left[start : start + width] = 0
    return total
