"""Borders of an image: margins of one gray level, black, white or gray bars burned into it."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np

from knee.storage.arrays import Pixels

# A line of a margin strays from its level by no more than JPEG's noise does.
LARGEST_DEVIATION: Final = 24  # of one pixel, gray levels
MEAN_DEVIATION: Final = 3.0  # over the line, gray levels
RING_SHARE: Final = 0.125  # of the side, on each edge: the outer ring beside the inner 75 %
FIRST_LINES: Final = 8  # looked at together, then four times as many


@dataclasses.dataclass(frozen=True)
class Borders:
    """Widths of the margins, px."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0


def measure(pixels: Pixels) -> Borders:
    """Return the margins of `pixels`, uint8 (height, width); none if it is uniform altogether.

    Each side has a level of its own. Bars within bars count together: rows first, columns between
    them, and again until nothing more comes off.
    """
    borders = Borders()
    while True:
        rows = crop(pixels, borders)
        top, bottom = _leading(rows), _leading(rows[::-1])
        if top + bottom >= len(rows):
            return Borders()
        columns = rows[top : len(rows) - bottom].T
        # With the same rows as in the round before, no column can have become a margin.
        again = top or bottom or borders == Borders()
        left, right = (_leading(columns), _leading(columns[::-1])) if again else (0, 0)
        if left + right >= len(columns):
            return Borders()
        borders = Borders(
            borders.top + top, borders.bottom + bottom, borders.left + left, borders.right + right
        )
        if not (left or right):  # with the same columns, no row can have become one either
            return borders


def crop(pixels: Pixels, borders: Borders) -> Pixels:
    """Return `pixels` without its margins, as a view."""
    height, width = pixels.shape
    return pixels[borders.top : height - borders.bottom, borders.left : width - borders.right]


def _leading(lines: Pixels) -> int:
    """Number of leading lines, uint8 (lines, length), of the first one's gray level."""
    first, length = lines[0], lines.shape[1]
    if int(first.max()) - int(first.min()) > 2 * LARGEST_DEVIATION:
        return 0
    level = np.uint8(int(first.sum()) / length + 0.5)
    start, step = 0, FIRST_LINES
    while start < len(lines):
        block = lines[start : start + step]
        deviation = np.maximum(block, level) - np.minimum(block, level)  # never leaves 8 bits
        within = deviation.max(axis=1) <= LARGEST_DEVIATION
        within &= deviation.sum(axis=1, dtype=np.int32) <= MEAN_DEVIATION * length
        if not within.all():
            return start + int(within.argmin())
        start, step = start + step, 4 * step
    return len(lines)
