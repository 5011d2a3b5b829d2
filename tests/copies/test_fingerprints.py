"""Fingerprints in a file: the views of any images are those of a list in memory."""

from __future__ import annotations

import numpy as np

from benchmarks.speed import straightforward
from knee.copies.fingerprints import FingerprintFile, Fingerprints


def test_fingerprints_in_a_file_are_those_of_a_list() -> None:
    generator = np.random.default_rng(0)
    listed = []
    for film in range(12):
        views = generator.integers(0, 256, (1 + 2 * (film % 3 == 0), 96, 96), np.uint8)
        hashes = generator.integers(0, 256, (2, 32), np.uint8)
        reduced = views[0] if film % 2 else views[0][::-1]
        listed.append(Fingerprints(hashes[0], hashes[1], reduced, views))
    file = FingerprintFile.of(listed)
    assert len(file) == 12
    images = generator.permutation(12)[:9]
    np.testing.assert_array_equal(file.reduced[images], [listed[image].reduced for image in images])
    for kind, name in zip(file.hashes(), ("upright", "mirrored"), strict=True):
        np.testing.assert_array_equal(kind, [getattr(one, name) for one in listed])
    found, expected = file.views(images), straightforward.views(listed, images)
    np.testing.assert_array_equal(found.pixels[:], expected.pixels)
    for name in ("image", "half", "cut"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
