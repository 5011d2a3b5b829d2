"""Photographic negatives among radiographs, by their likeness to the typical image of the set.

A negative is dark where the median of all images is bright. Of 6,604 public crops of one knee the
84 negatives correlate with the median by -0.96 to -0.65, all others by 0.23 and more; of 3,780
files from two collections, turned and cropped in many ways, none is a negative, and the least
correlation is -0.43 (benchmarks/evidence/negatives.py). So what is found is a negative; in a set of
many views not each is found.
"""

from __future__ import annotations

import base64
import functools
import logging
from typing import Final

import numpy as np

from knee.reading.canonical_image import resize
from knee.reading.decoded import UnreadableImage
from knee.storage.arrays import Floats, Images, Integers, Pixels
from knee.storage.image_stacks import ImageRows, blocks

SIDE_PIXELS: Final = 48  # of the images that are compared
MINIMUM_IMAGES: Final = 100  # of fewer the median is not typical
MOST_MEDIAN_IMAGES: Final = 2000  # evenly spaced ones, that the median is of
CORRELATION: Final = -0.55  # of a negative, at most
GRAY_LEVELS: Final = 40.0  # of the typical image, to a standard deviation
MOST_SHARE: Final = 0.1  # negatives; with more, which way is upright is not plain
log = logging.getLogger(__name__)


def find(images: ImageRows) -> Integers:
    """Return the rows of `images` that are negatives, in order; none in a set that is too small.

    Where negatives are not the exception a warning says so, and none is returned.
    """
    typical = median_image(images)
    if typical is None:
        return np.empty(0, np.int64)
    correlation = np.concatenate([correlations(some, typical) for some in blocks(images)])
    found = np.flatnonzero(correlation <= CORRELATION)
    if len(found) > MOST_SHARE * len(images):
        log.warning(
            "%d of %d images run against the typical one, too many to be negatives among upright "
            "images: all stay as they are",
            len(found),
            len(images),
        )
        return np.empty(0, np.int64)
    return found


def median_image(images: ImageRows) -> Pixels | None:
    """Return the typical one of `images`, uint8 (SIDE_PIXELS, SIDE_PIXELS); None of too few."""
    count = len(images)
    if count < MINIMUM_IMAGES:
        return None
    chosen = np.unique(np.linspace(0, count - 1, MOST_MEDIAN_IMAGES).astype(np.int64))
    median = np.median(_standardised(images[chosen]), axis=0)
    gray = np.clip(128 + GRAY_LEVELS * median, 0, 255).round()
    return np.asarray(gray, np.uint8).reshape(SIDE_PIXELS, SIDE_PIXELS)


def correlations(images: Pixels, typical: Pixels) -> Floats:
    """Return the correlation of each of `images`, uint8 (n, height, width), with `typical`."""
    (expected,) = _standardised(typical[np.newaxis])
    return np.asarray(_standardised(images) @ expected / expected.size, np.float64)


def check(image: Pixels, typical: Pixels) -> None:
    """Raise `UnreadableImage` for a negative of what the `typical` image is of."""
    if correlations(image[np.newaxis], typical)[0] <= CORRELATION:
        raise UnreadableImage(
            "it looks like a photographic negative of the images that the model learned from: "
            "invert its gray values"
        )


def as_text(typical: Pixels | None) -> str:
    """Return a typical image as text for a record, "" for none."""
    return "" if typical is None else base64.b64encode(typical.tobytes()).decode("ascii")


@functools.lru_cache(maxsize=4)
def of_text(text: str) -> Pixels:
    """Return the image that `as_text` wrote; `ValueError` if it is none."""
    values = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    return values.reshape(SIDE_PIXELS, SIDE_PIXELS)


def _standardised(images: Pixels) -> Images:
    """Reduced images as rows of mean 0 and standard deviation 1, or 0 where they are constant."""
    small = [resize(image, SIDE_PIXELS, SIDE_PIXELS).ravel() for image in images]
    values = np.asarray(small, np.float32)
    values -= values.mean(axis=1, keepdims=True)
    return np.asarray(values / np.maximum(values.std(axis=1, keepdims=True), 1e-6), np.float32)
