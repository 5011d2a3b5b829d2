"""Copies whose gray values or frame were altered: negatives, equalised, padded ones, and halves.

A histogram equalisation undoes every monotone change of the gray values, and the equalised negative
is the negative of the equalised image. So candidates are look-alikes among the equalised images and
their negatives, all without margins. Pairs are registered as they are and equalised.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from knee.copies import copy_check, look_alikes
from knee.copies.affine_registration import AffineMaps
from knee.copies.look_alikes import POOLED_SIDE_PIXELS
from knee.reading import borders
from knee.reading.canonical_image import resize
from knee.records.components import Pair
from knee.storage.arrays import Floats, Integers, Pixels
from knee.storage.image_stacks import ChosenImages, ImageRows, blocks

WIDE: Final = 1.2  # width to height: from here on an image may show two knees side by side
FRINGE: Final = 64  # this part of a side goes with a margin: its edge is blurred, or rings in JPEG
NEIGHBOURS: Final = 3  # look-alikes of a view in a pose; at most seven are verified
UPRIGHT_POSES: Final = 2 * len(look_alikes.ZOOMS)  # unshifted, which head the bank
ROUND_PAIRS: Final = 2048  # registered at once: bounds the memory
FEWEST_GRAYS: Final = 0.2  # share of pixels beside the two commonest gray levels: masks have less
# Share of the pixels that one gray level counts for in the ranks, at most. Much of one level is
# background, which would leave the bone little contrast beside writing that many images share.
LARGEST_LEVEL: Final = 1 / 16


class Views(NamedTuple):
    """What is compared: each image without its margins, then the halves of wide ones."""

    pixels: ImageRows  # uint8 (views, side, side)
    image: Integers  # (views,), the image that each shows
    half: npt.NDArray[np.bool_]  # (views,)
    cut: npt.NDArray[np.bool_]  # (views,): differs from the image as it is

    def at(self, places: npt.NDArray[np.bool_]) -> Views:
        """Return the views at these places."""
        pixels = ChosenImages(self.pixels, np.flatnonzero(places))
        return Views(pixels, self.image[places], self.half[places], self.cut[places])


class Candidates(NamedTuple):
    """Pairs of views to verify."""

    pairs: Integers  # (m, 2), fixed and moving
    opposite: npt.NDArray[np.bool_]  # (m,): the moving view is looked at as a negative
    maps: AffineMaps  # where the registration starts

    def at(self, places: Integers | slice) -> Candidates:
        """Return the candidates at these places."""
        return Candidates(self.pairs[places], self.opposite[places], self.maps[places])


class Relatives(NamedTuple):
    """Pairs of images that agree: as copies, or one shows what a half of the other does."""

    copies: list[Pair]
    parts: list[Pair]
    agreement: dict[Pair, float]  # of each pair, the smaller correlation of its best registration


def without_margins(pixels: Pixels) -> Pixels:
    """Return `pixels` without margins of any gray level, one within another too."""
    while (margins := borders.measure(pixels)) != borders.Borders():
        height, width = pixels.shape
        fringes = (height // FRINGE, height // FRINGE, width // FRINGE, width // FRINGE)
        widths = (margins.top, margins.bottom, margins.left, margins.right)
        wider = [wide and wide + more for wide, more in zip(widths, fringes, strict=True)]
        if wider[0] + wider[1] >= height or wider[2] + wider[3] >= width:
            break
        pixels = borders.crop(pixels, borders.Borders(*wider))
    return pixels


def views_of(pixels: Pixels, side: int) -> Pixels:
    """Return the image without margins and, if it is wide, its halves, uint8 (1 or 3, side, side).

    `pixels` are uint8 (height, width).
    """
    inner = without_margins(pixels)
    height, width = inner.shape
    middle = width // 2
    halves = [inner[:, :middle], inner[:, middle:]] if width >= WIDE * height else []
    shown = [inner, *map(without_margins, halves)]
    return np.stack([resize(np.ascontiguousarray(one), side, side) for one in shown])


def equalised(images: Pixels) -> Pixels:
    """Return the gray levels' mid-ranks within each image, 0 to 255, uint8 (n, side, side)."""
    result = np.empty_like(images)
    for image, ranks in zip(images, result, strict=True):
        counts = np.bincount(image.ravel(), minlength=256).clip(max=LARGEST_LEVEL * image.size)
        ranks[:] = np.rint(255 * (counts.cumsum() - counts / 2) / counts.sum())[image]
    return result


def relatives(
    views: Views,
    similarity: float,
    copy: copy_check.CopyThresholds,
    registrar: copy_check.Registrar = copy_check.HERE,
) -> Relatives:
    """Return pairs that agree as `copy` demands; a copy agrees with its star's centre itself."""
    views = views.at(_telling(views.pixels))
    if len(views.pixels) < 2:
        return Relatives([], [], {})
    ranks = ChosenImages(views.pixels, np.arange(len(views.pixels)), equalised)
    found = _candidates(ranks, views, similarity)
    holds, agreement = _agree(ranks, found, copy, registrar)
    # Whole images without margins and of one polarity are left to the search as they are.
    altered = found.opposite | views.cut[found.pairs].any(axis=1)
    again = np.flatnonzero(altered & ~holds)
    holds[again], agreement[again] = _agree(views.pixels, found.at(again), copy, registrar)
    half = views.half[found.pairs].any(axis=1)
    images = np.sort(views.image[found.pairs], axis=1)
    copies, parts = (
        sorted({(int(one), int(two)) for one, two in images[holds & kind]})
        for kind in (~half, half)
    )
    best: dict[Pair, float] = {}
    for (one, two), value in zip(images[holds].tolist(), agreement[holds].tolist(), strict=True):
        best[one, two] = best[two, one] = max(value, best.get((one, two), value))
    return Relatives(stars(copies), parts, best)


def _telling(pixels: ImageRows) -> npt.NDArray[np.bool_]:
    """Which images, uint8 (n, side, side), have more than two gray levels and their blur."""
    telling = [np.empty(0, np.bool_)]
    for images in blocks(pixels):
        counts = np.stack([np.bincount(image.ravel(), minlength=256) for image in images])
        beside = np.sort(counts, axis=1)[:, :-2].sum(axis=1)
        telling.append(beside >= FEWEST_GRAYS * images[0].size)
    return np.concatenate(telling)


class _BothPolarities:
    """Images pooled to uint8 (32, 32), then their negatives: one kilobyte of memory an image."""

    def __init__(self, images: ImageRows) -> None:
        side = POOLED_SIDE_PIXELS
        self._pooled = np.empty((len(images), side, side), np.uint8)
        start = 0
        for some in blocks(images):
            pools = (side, some.shape[1] // side)
            means = some.reshape(-1, *pools, *pools).mean((2, 4))
            self._pooled[start : start + len(some)] = np.rint(means)
            start += len(some)

    def __len__(self) -> int:
        return 2 * len(self._pooled)

    def __getitem__(self, rows: Integers | slice) -> Pixels:
        numbers = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else rows
        shown = self._pooled[numbers % len(self._pooled)]
        negative = (numbers >= len(self._pooled))[:, np.newaxis, np.newaxis]
        return np.where(negative, 255 - shown, shown)


def _candidates(ranks: ImageRows, views: Views, similarity: float) -> Candidates:
    """The pairs of views of different images that look alike, as they are or as negatives."""
    both = look_alikes.DiscIndex(_BothPolarities(ranks))
    poses = look_alikes.pose_bank(turned=False)
    alike = look_alikes.look_alikes(both, poses[:UPRIGHT_POSES], NEIGHBOURS, similarity)
    pairs, maps = alike.pairs, alike.maps
    if views.half.any():  # halves are cut out with more or less around the knee: start shifted too
        shifted = look_alikes.look_alikes(both, poses, NEIGHBOURS, similarity)
        of_half = views.half[shifted.pairs % len(ranks)].any(axis=1)
        pairs = np.concatenate([pairs, shifted.pairs[of_half]])
        maps = np.concatenate([maps, shifted.maps[of_half]])
    negative = pairs >= len(ranks)
    opposite, pairs = negative[:, 0] != negative[:, 1], pairs % len(ranks)
    # Two negatives start as the images themselves do, and a pair turned round as its inverse.
    shift = np.arange(len(pairs)) >= len(alike.pairs)
    mirrored = np.linalg.det(maps[:, :, :2]) < 0
    keys = np.column_stack([np.sort(pairs, axis=1), opposite, mirrored, shift])
    once = np.sort(np.unique(keys, axis=0, return_index=True)[1])
    once = once[views.image[pairs[once, 0]] != views.image[pairs[once, 1]]]
    return Candidates(pairs, opposite, maps).at(once)


def _agree(
    shown: ImageRows,
    candidates: Candidates,
    copy: copy_check.CopyThresholds,
    registrar: copy_check.Registrar,
) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Which candidates agree, bool (m,), and their smaller correlations, float64 (m,).

    The moving view is looked at as a negative where the candidates say so.
    """
    holds, smaller = [np.empty(0, bool)], [np.empty(0)]
    for start in range(0, len(candidates.pairs), ROUND_PAIRS):
        pairs, opposite, maps = candidates.at(slice(start, start + ROUND_PAIRS))
        moving = shown[pairs[:, 1]]
        images = [shown[pairs[:, 0]], np.where(opposite[:, None, None], 255 - moving, moving)]
        numbers = np.arange(2 * len(pairs)).reshape(2, -1).T
        shown_images = np.concatenate(images)
        registered = registrar.register(shown_images, numbers, maps, "altered copies")
        holds.append(copy.holds(registered.agreement))
        smaller.append(registered.agreement.smaller())
    return np.concatenate(holds), np.concatenate(smaller)


def stars(pairs: list[Pair]) -> list[Pair]:
    """Return the pairs of the most linked image, then of the next that is not joined yet."""
    links: dict[int, set[int]] = {}
    for one, two in pairs:
        links.setdefault(one, set()).add(two)
        links.setdefault(two, set()).add(one)
    settled: set[int] = set()
    joined: list[Pair] = []
    for centre in sorted(links, key=lambda image: (-len(links[image]), image)):
        if centre not in settled:
            members = links[centre] - settled
            joined += [(centre, member) for member in sorted(members)]
            settled |= members | {centre}
    return joined
