"""Photographic negatives among radiographs, by their likeness to the typical image of the set.

A negative is dark where the median of all images is bright. Of 6,604 public crops of one knee the
84 negatives correlate with the median by -0.96 to -0.66, all others by 0.23 and more; of 3,780
files from two collections, turned and cropped in many ways, none is a negative, and the least
correlation is -0.42. So what is found is a negative; in a set of many views not each is found.
"""

from __future__ import annotations

import logging
from typing import Final

import numpy as np

from knee.storage.arrays import Floats, Images, Integers, Pixels
from knee.storage.image_stacks import ImageRows, blocks

SIDE_PIXELS: Final = 48  # of the images that are compared
MINIMUM_IMAGES: Final = 100  # of fewer the median is not typical
MOST_MEDIAN_IMAGES: Final = 2000  # evenly spaced ones, that the median is of
CORRELATION: Final = -0.55  # of a negative, at most
MOST_SHARE: Final = 0.1  # negatives; with more, which way is upright is not plain
log = logging.getLogger(__name__)


def find(images: ImageRows) -> Integers:
    """Return the rows of `images` that are negatives, in order; none in a set that is too small.

    The side of the images, uint8 (n, side, side), is a multiple of SIDE_PIXELS. Where negatives are
    not the exception a warning says so, and none is returned.
    """
    count = len(images)
    if count < MINIMUM_IMAGES:
        return np.empty(0, np.int64)
    chosen = np.unique(np.linspace(0, count - 1, MOST_MEDIAN_IMAGES).astype(np.int64))
    typical = np.median(_standardised(images[chosen]), axis=0)
    correlation = np.concatenate([correlations(some, typical) for some in blocks(images)])
    found = np.flatnonzero(correlation <= CORRELATION)
    if len(found) > MOST_SHARE * count:
        log.warning(
            "%d of %d images run against the typical one, too many to be negatives among upright "
            "images: all stay as they are",
            len(found),
            count,
        )
        return np.empty(0, np.int64)
    return found


def correlations(images: Pixels, typical: Images) -> Floats:
    """Return the correlation of each of `images`, uint8 (n, side, side), with the `typical` one.

    `typical` is float32 (SIDE_PIXELS ** 2,).
    """
    expected = typical - typical.mean()
    length = float(np.linalg.norm(expected)) * SIDE_PIXELS  # a standardised image is that long
    return np.asarray(_standardised(images) @ expected / max(length, 1e-6), np.float64)


def _standardised(images: Pixels) -> Images:
    """Reduced images as rows of mean 0 and standard deviation 1, or 0 where they are constant."""
    step = images.shape[1] // SIDE_PIXELS
    blocks = images.reshape(len(images), SIDE_PIXELS, step, SIDE_PIXELS, step)
    values = blocks.mean(axis=(2, 4), dtype=np.float32).reshape(len(images), -1)
    values -= values.mean(axis=1, keepdims=True)
    return np.asarray(values / np.maximum(values.std(axis=1, keepdims=True), 1e-6), np.float32)
