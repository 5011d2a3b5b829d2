"""The straightforward ways of what the library does with less memory or time, to measure against.

Each gives the same bytes as the library's; the tests hold them against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from knee.copies import altered_copies
from knee.copies.fingerprints import Fingerprints
from knee.records.components import Pair, components
from knee.storage.arrays import Features, Floats, Integers, Pixels, Truth


def views(fingerprints: Sequence[Fingerprints], images: Integers) -> altered_copies.Views:
    """Views of `images`, as of `FingerprintFile.views`, from a list in memory."""
    chosen = [fingerprints[image] for image in images]
    whole = [one.views[:1] for one in chosen]
    halves = [one.views[1:] for one in chosen]
    count = np.array([len(one) for one in halves])
    cut = [not np.array_equal(one.views[0], one.reduced) for one in chosen]
    places = np.arange(len(images))
    return altered_copies.Views(
        np.concatenate([*whole, *halves]),
        np.concatenate([places, places.repeat(count)]),
        np.arange(len(images) + count.sum()) >= len(images),
        np.array(cut + [True] * int(count.sum())),
    )


def linked(
    count: int, pairs: Integers, holds: Callable[[Integers], Any], round_pairs: int
) -> Integers:
    """Pairs that hold among those not linked by earlier rounds; all components anew each round."""
    groups, found = np.arange(count), list[Pair]()
    for start in range(0, len(pairs), round_pairs):
        some = pairs[start : start + round_pairs]
        some = some[groups[some[:, 0]] != groups[some[:, 1]]]
        found += [(int(one), int(two)) for one, two in some[holds(some)]]
        groups = components(count, found)
    return np.array(found, np.int64).reshape(-1, 2)


def confusion(truth: Truth, predicted: Truth, weights: Floats, classes: int) -> Floats:
    """Summed weights, as of `scores.confusion`, by a product with a row of 0 and 1 a record."""
    cells = np.zeros((len(truth), classes * classes))
    cells[np.arange(len(truth)), truth * classes + predicted] = 1
    return (weights @ cells).reshape(-1, classes, classes)


def nearest(train: Features, test: Features, rows_at_once: int = 512) -> Integers:
    """The nearest training row of each test row, all training rows as float32 at once."""
    known = train.astype(np.float32)
    length = np.einsum("ij,ij->i", known, known)
    found = [
        np.argmin(length - 2 * test[start : start + rows_at_once].astype(np.float32) @ known.T, 1)
        for start in range(0, len(test), rows_at_once)
    ]
    return np.concatenate(found).astype(np.int64)


def images(fingerprints: Sequence[Fingerprints]) -> tuple[Pixels, Pixels]:
    """The images of fingerprints and their equalised views, as arrays in memory."""
    shown = views(fingerprints, np.arange(len(fingerprints)))
    return np.stack([one.reduced for one in fingerprints]), altered_copies.equalised(
        np.asarray(shown.pixels)
    )
