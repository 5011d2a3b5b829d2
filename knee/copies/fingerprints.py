"""Fingerprints: what copies of an image are recognised by, and a file of many of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from knee.copies import altered_copies, copy_check, hash_search
from knee.reading.canonical_image import resize
from knee.storage.arrays import Integers, Pixels
from knee.storage.image_stacks import ChosenImages, ImageStack


class Fingerprints(NamedTuple):
    """What copies of an image are recognised by."""

    upright: Pixels  # perceptual hash, uint8 (32,)
    mirrored: Pixels  # that of the mirror image
    reduced: Pixels  # the image, uint8 (96, 96)
    views: Pixels  # without margins, and its halves if it is wide, uint8 (1 or 3, 96, 96)

    @classmethod
    def of(cls, pixels: Pixels) -> Fingerprints:
        """Return those of an image, uint8 (height, width)."""
        side = copy_check.REDUCED_SIDE_PIXELS
        reduced, views = resize(pixels, side, side), altered_copies.views_of(pixels, side)
        return cls(*hash_search.perceptual_hashes(pixels), reduced, views)


class FingerprintFile:
    """Fingerprints of many images: hashes in memory, their images on disk.

    A million images take 0.1 GB of memory and 20 to 40 GB of disk.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Open an empty file on the disk of `folder`; None is that of temporary files."""
        side = copy_check.REDUCED_SIDE_PIXELS
        self.reduced = ImageStack(side, folder)
        self._views = ImageStack(side, folder)
        self._upright, self._mirrored = bytearray(), bytearray()
        self._view_counts = bytearray()
        self._is_cut = bytearray()

    @classmethod
    def of(cls, fingerprints: Iterable[Fingerprints]) -> Self:
        """Return a file of these `fingerprints`."""
        file = cls()
        for one in fingerprints:
            file.append(one)
        return file

    def __len__(self) -> int:
        return len(self.reduced)

    def append(self, one: Fingerprints) -> None:
        """Add the fingerprints of an image."""
        self.reduced.extend(one.reduced[np.newaxis])
        self._views.extend(one.views)
        self._upright += one.upright.tobytes()
        self._mirrored += one.mirrored.tobytes()
        self._view_counts.append(len(one.views))
        self._is_cut.append(not np.array_equal(one.views[0], one.reduced))

    def hashes(self) -> tuple[Pixels, Pixels]:
        """Return the hashes of the images and of their mirror images, uint8 (n, 32) each."""
        upright, mirrored = (
            np.frombuffer(bytes(kind), np.uint8).reshape(-1, hash_search.HASH_BYTES)
            for kind in (self._upright, self._mirrored)
        )
        return upright, mirrored

    def views(self, images: Integers) -> altered_copies.Views:
        """Return the views of the `images` (n,), whole ones first; they show places in `images`."""
        counts = np.frombuffer(bytes(self._view_counts), np.uint8).astype(np.int64)
        first = (counts.cumsum() - counts)[images]
        halves = counts[images] - 1
        before = np.repeat(halves.cumsum() - halves, halves)  # halves of the images before
        places = np.arange(len(images))
        half = np.arange(halves.sum()) - before + np.repeat(first + 1, halves)
        is_cut = np.frombuffer(bytes(self._is_cut), np.bool_)[images]
        return altered_copies.Views(
            ChosenImages(self._views, np.concatenate([first, half])),
            np.concatenate([places, np.repeat(places, halves)]),
            np.arange(len(images) + len(half)) >= len(images),
            np.concatenate([is_cut, np.ones(len(half), np.bool_)]),
        )
