"""Whether two pictures are one: registered coarse to fine, then compared in their detail.

Two knees look alike when blurred. A copy agrees in its detail (band-passed pixels) everywhere, a
stranger does not, however well it is laid over the other.
"""

from __future__ import annotations

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from knee.copies import affine_registration
from knee.copies.affine_registration import AffineMaps, Agreement, Layer
from knee.storage.arrays import Floats, Images, Pixels

REDUCED_SIDE_PIXELS: Final = 96  # of the image that is registered; pooled by 4, 2 and 1
COARSE_CORRELATION: Final = 0.96  # at 24 x 24: below, no further look
MIDDLE_DETAIL: Final = 0.85  # at 48 x 48
ITERATIONS: Final = (8, 8, 5)  # at 24, 48 and 96 pixels
SMOOTH_PIXELS: Final = 0.7  # band of the detail: standard deviations of the two blurs
COARSE_PIXELS: Final = 3.0
MARGIN_PIXELS: Final = {4: 1, 2: 2, 1: 3}  # at the frame, where a blur sees one side alone
FILLED: Final = 12  # gray values up to this may be the black that turning or shifting leaves
FILL_EDGE: Final = 50  # gray values: films fade into black, a filled corner is cut off
BATCH_PAIRS: Final = 32  # fits the processor's cache


@dataclasses.dataclass(frozen=True)
class CopyThresholds:
    """What a copy must hold.

    Attributes:
        whole: smallest correlation of the aligned detail.
        local: smallest lower quartile of its correlations in 8 x 8 blocks.
        overlap: smallest share of the picture that both show.
        marked_whole: smallest correlation of a copy with a line or label of its own.
        marked_local: smallest lower quartile of such a copy: but for its marks it must agree more.
    """

    whole: float
    local: float
    overlap: float
    marked_whole: float
    marked_local: float

    def holds(self, agreement: Agreement) -> npt.NDArray[np.bool_]:
        """One bool a pair."""
        plain = (agreement.whole >= self.whole) & (agreement.local >= self.local)
        marked = (agreement.whole >= self.marked_whole) & (agreement.local >= self.marked_local)
        return np.asarray((plain | marked) & (agreement.overlap >= self.overlap))

    def loosened(self, slack: float) -> CopyThresholds:
        """The same with correlations smaller by `slack`."""
        return CopyThresholds(
            self.whole - slack,
            self.local - slack,
            self.overlap,
            self.marked_whole - slack,
            self.marked_local - slack,
        )


@dataclasses.dataclass(frozen=True)
class Registered:
    """Pairs laid over each other: the maps found, and how well each pair agrees then."""

    maps: AffineMaps
    agreement: Agreement


def register(
    reduced: Pixels, pairs: npt.NDArray[np.int64], maps: AffineMaps, progress: str = ""
) -> Registered:
    """Lay the second picture of each pair over the first.

    Args:
        reduced: uint8 (n, 96, 96).
        pairs: int64 (m, 2), fixed and moving.
        maps: float64 (m, 2, 3), where to start.
        progress: what the progress bar says; "": none.
    """
    starts = range(0, len(pairs), BATCH_PAIRS)

    def one(start: int) -> tuple[AffineMaps, Agreement]:
        batch = slice(start, start + BATCH_PAIRS)
        return _register(reduced[pairs[batch, 0]], reduced[pairs[batch, 1]], maps[batch])

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        bar = tqdm(pool.map(one, starts), progress, len(starts), disable=None if progress else True)
        results = [(np.empty((0, 2, 3)), _nothing(0)), *bar]
    return Registered(
        np.concatenate([found for found, _ in results]),
        Agreement(
            *(
                np.concatenate([getattr(found, field.name) for _, found in results])
                for field in dataclasses.fields(Agreement)
            )
        ),
    )


def _register(fixed: Pixels, moving: Pixels, maps: AffineMaps) -> tuple[AffineMaps, Agreement]:
    """One batch; pairs that fail a coarser look are not looked at again."""
    result = _nothing(len(maps))
    maps, whole, swapped = _coarse(fixed, moving, maps)
    fixed, moving = (
        np.where(swapped[:, None, None], two, one)
        for one, two in ((fixed, moving), (moving, fixed))
    )
    going = np.flatnonzero(whole >= COARSE_CORRELATION)
    for factor, iterations in ((2, ITERATIONS[1]), (1, ITERATIONS[2])):
        if not len(going):
            break
        one, two = (_level(images[going], factor) for images in (fixed, moving))
        maps[going] = affine_registration.refine(one, two, maps[going], iterations)
        found = affine_registration.agreement(one, two, maps[going])
        if factor == 1:
            back = affine_registration.agreement(
                two, one, affine_registration.inverted(maps[going])
            )
            result.put(going, found.better(back))
        going = going[found.whole >= MIDDLE_DETAIL]
    maps[swapped] = affine_registration.inverted(maps[swapped])
    return maps, result


def _coarse(
    fixed: Pixels, moving: Pixels, maps: AffineMaps
) -> tuple[AffineMaps, Floats, npt.NDArray[np.bool_]]:
    """Maps and correlations at the coarsest size, and which pairs fit better the other way round.

    The corners that turning left black belong to the derived image alone: laid over it, the
    source shows nothing there; the other way round they are compared with its bones.
    """
    one, two = (_level(images, 4) for images in (fixed, moving))
    there = affine_registration.refine(one, two, maps, ITERATIONS[0])
    back = affine_registration.refine(two, one, affine_registration.inverted(maps), ITERATIONS[0])
    whole, other = (
        affine_registration.agreement(one, two, there),
        affine_registration.agreement(two, one, back),
    )
    swapped = other.whole > whole.whole
    return (
        np.where(swapped[:, None, None], back, there),
        np.maximum(whole.whole, other.whole),
        swapped,
    )


def _level(images: Pixels, factor: int) -> Layer:
    """Pooled by `factor`; band-passed except at the coarsest, which has no detail."""
    from scipy.ndimage import gaussian_filter

    side = images.shape[1] // factor
    pooled = images.reshape(-1, side, factor, side, factor).mean((2, 4), np.float32)
    values = gaussian_filter(pooled, (0, SMOOTH_PIXELS, SMOOTH_PIXELS), truncate=3)
    if factor < 4:
        values -= gaussian_filter(pooled, (0, COARSE_PIXELS, COARSE_PIXELS), truncate=2)
    return Layer(np.asarray(values, np.float32), _seen(pooled, MARGIN_PIXELS[factor]))


def _seen(pooled: Images, margin: int) -> Images:
    """1 but for the frame and the surroundings of hard edges to black: no film made those."""
    from scipy.ndimage import maximum_filter, minimum_filter

    window = (1, 2 * margin + 1, 2 * margin + 1)
    beside_black = minimum_filter(pooled, (1, 3, 3)) <= FILLED
    edge = beside_black & (maximum_filter(pooled, (1, 3, 3)) >= FILL_EDGE)
    seen = 1 - maximum_filter(edge.astype(np.float32), window)
    frame = np.zeros_like(seen)
    frame[:, margin:-margin, margin:-margin] = 1
    return np.asarray(seen * frame, np.float32)


def _nothing(pairs: int) -> Agreement:
    return Agreement(*(np.zeros(pairs) for _ in dataclasses.fields(Agreement)))
