"""Attribution maps as numbers: how much of one lies where, and how similar two are.

An attribution is the non-negative part of a map, scaled to sum 1 over the image: evidence for the
explained class alone, in shares. A map without any positive value has none; all that is measured
of it is NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from knee.reading.borders import RING_SHARE
from knee.storage.arrays import Floats

Region = npt.NDArray[Any]  # bool, or float of 0-1: (side, side) or (rows, side, side)


def attribution(maps: npt.NDArray[np.floating[Any]]) -> Floats:
    """Scale (rows, side, side) maps -> float64, each >= 0 with sum 1, or all NaN."""
    positive = np.maximum(np.asarray(maps, np.float64), 0)
    total = positive.sum(axis=(1, 2), keepdims=True)
    undefined = np.full_like(positive, np.nan)
    shares: Floats = np.divide(positive, total, out=undefined, where=total > 0)
    return shares


def share_inside(attributions: Floats, region: Region) -> Floats:
    """Return (rows,) the share of each attribution that lies on `region`, 0-1."""
    return np.asarray((attributions * region).sum(axis=(1, 2)))


def peak_inside(attributions: Floats, region: Region) -> Floats:
    """Return (rows,) 1 where the greatest value, the first of equals, lies on `region`, else 0."""
    flat = attributions.reshape(len(attributions), -1)
    regions = np.broadcast_to(region, attributions.shape).reshape(flat.shape)
    # NaN is the greatest for argmax, and says nothing about a place.
    peak = regions[np.arange(len(flat)), np.nan_to_num(flat).argmax(axis=1)]
    undefined = np.isnan(flat).any(axis=1) | np.isnan(np.asarray(peak, np.float64))
    return np.where(undefined, np.nan, peak >= 0.5)


def border_ring(side_pixels: int) -> npt.NDArray[np.bool_]:
    """Return (side, side), True on the outer ring that the audit's shortcut `border` looks at."""
    edge = max(1, round(side_pixels * RING_SHARE))
    ring = np.ones((side_pixels, side_pixels), np.bool_)
    ring[edge:-edge, edge:-edge] = False
    return ring


def reduced(maps: Floats, cells: int) -> Floats:
    """Reduce (rows, side, side) to means of blocks, (rows, cells, cells); at most `side` cells."""
    side = maps.shape[1]
    cells = min(cells, side)
    starts = np.arange(cells) * side // cells
    sizes = np.diff([*starts, side])
    summed = np.add.reduceat(np.add.reduceat(maps, starts, axis=1), starts, axis=2)
    return np.asarray(summed / np.outer(sizes, sizes))


def rank_correlation(one: Floats, other: Floats) -> Floats:
    """Return (rows,) Spearman's correlation over the values of each row; NaN where one is constant.

    Both are (rows, ...) of the same shape; equal values share their mean rank.
    """
    from scipy.stats import rankdata

    ranks = [
        rankdata(maps.reshape(len(maps), -1), axis=1, nan_policy="propagate")
        for maps in (one, other)
    ]
    first, second = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    spread = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    undefined = np.full(len(one), np.nan)
    common = (first * second).sum(axis=1)
    correlation: Floats = np.divide(common, spread, out=undefined, where=spread > 0)
    return correlation
