"""Outlines of an average adult's knee in the frontal view, as smooth tables of millimetres.

A table holds one quantity (an edge, a depth, a share) along y, or along x for a joint surface;
lateral and distal are positive, the middle of the joint space is 0.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.floating[Any]]
Points = tuple[tuple[float, float], ...]

STEP_MM = 0.25
REACH_MM = 460.0  # tables hold y, or x, from -REACH_MM to REACH_MM

# (y, value) pairs in mm of an average adult; straight lines between them are smoothed.
FEMUR_LATERAL: Points = (
    (-420, 14.5), (-160, 14.5), (-110, 16), (-80, 20), (-60, 26.5), (-46, 33), (-34, 38.5),
    (-22, 40), (-10, 39), (0, 35),
)  # fmt: skip
FEMUR_MEDIAL: Points = (
    (-420, 14), (-160, 14), (-110, 15.5), (-84, 19), (-64, 25), (-50, 33), (-40, 40), (-31, 42.5),
    (-20, 40.5), (-9, 39), (0, 35),
)  # fmt: skip
FEMUR_DEPTH: Points = (
    (-420, 14.5), (-120, 15), (-80, 17), (-50, 23), (-25, 29), (0, 29),
)  # fmt: skip
FEMUR_END: Points = (
    (-44, -13), (-39, -7), (-33, -3.6), (-24, -2.2), (-17, -2.8), (-12, -5.5), (-7, -9.5),
    (0, -10.8), (7, -9.5), (12, -5.5), (17, -3.2), (24, -2.6), (33, -4), (39, -7.5), (44, -14),
)  # fmt: skip
TIBIA_LATERAL: Points = (
    (0, 36), (6, 37.5), (13, 37.5), (24, 34), (36, 27.5), (52, 21), (75, 16.5), (110, 14),
    (200, 12), (300, 12), (360, 17), (390, 23),
)  # fmt: skip
TIBIA_MEDIAL: Points = (
    (0, 37), (6, 38.5), (13, 38), (24, 34), (38, 27), (56, 20.5), (80, 16.5), (110, 14.5),
    (200, 12.5), (300, 13), (360, 19), (390, 26),
)  # fmt: skip
TIBIA_DEPTH: Points = ((0, 23), (20, 25), (45, 20), (80, 17), (130, 15), (300, 12), (390, 18))
TIBIA_END: Points = (
    (-41, 8), (-36, 3.6), (-30, 2.4), (-20, 3.2), (-11, 1.8), (-6, -3.2), (-4.5, -4.2),
    (-2.5, -2.2), (0, -1), (2.5, -1.8), (4.5, -3.2), (6, -2.4), (11, 2.2), (20, 2.6),
    (30, 2.6), (36, 4.2), (41, 9),
)  # fmt: skip
FIBULA_CENTRE: Points = ((0, 35), (22, 33.5), (50, 31), (120, 28), (250, 26), (390, 27))
FIBULA_HALF: Points = (
    (0, 8), (14, 10.5), (24, 11), (36, 7.8), (50, 6.2), (110, 6.6), (250, 6.2), (350, 7.5),
    (400, 12),
)  # fmt: skip
FIBULA_END: Points = ((20, 25), (26, 18), (31, 14), (36, 11.5), (40, 12.5), (44, 16), (50, 25))
# Cortex as a share of its thickness in mid-shaft: a thin shell near the joint.
CORTEX_SHARE: Points = (
    (-420, 1.05), (-150, 1), (-100, 0.9), (-70, 0.66), (-45, 0.4), (-15, 0.3), (0, 0.3),
    (15, 0.3), (40, 0.52), (65, 0.8), (100, 0.97), (150, 1), (300, 0.9), (390, 0.4),
)  # fmt: skip
# Trabecular filling of the core: dense under the joint, a hollow canal in mid-shaft.
FILLING: Points = (
    (-420, 0.12), (-140, 0.16), (-95, 0.34), (-60, 0.68), (-25, 1), (0, 1), (18, 1.05), (45, 0.72),
    (75, 0.4), (110, 0.2), (300, 0.14), (390, 0.8),
)  # fmt: skip
SKIN_LATERAL: Points = (
    (-420, 88), (-220, 78), (-120, 67), (-60, 57), (-20, 52.5), (15, 51), (50, 53), (110, 58),
    (160, 56), (230, 46), (310, 36), (390, 36),
)  # fmt: skip
SKIN_MEDIAL: Points = (
    (-420, 92), (-220, 78), (-120, 66), (-60, 58), (-20, 54), (15, 52), (50, 53), (110, 61),
    (150, 60), (220, 46), (310, 35), (390, 36),
)  # fmt: skip
SKIN_DEPTH: Points = (
    (-420, 85), (-200, 72), (-100, 62), (-30, 56), (10, 53), (60, 54), (120, 58), (200, 50),
    (310, 38), (390, 38),
)  # fmt: skip


@functools.cache
def axis() -> Grid:
    """Return the positions of a table's entries, mm."""
    return np.arange(-REACH_MM, REACH_MM + STEP_MM, STEP_MM, dtype=np.float32)


@functools.cache
def table(points: Points, blur_mm: float = 3.0) -> Grid:
    """Return `points` as a smooth table over -REACH_MM to REACH_MM, constant beyond its ends."""
    positions, values = zip(*points, strict=True)
    if positions[-1] - positions[0] < 100:  # a joint surface: keep its detail
        blur_mm = min(blur_mm, 1.5)
    offsets = np.arange(-4 * blur_mm, 4 * blur_mm + STEP_MM, STEP_MM)
    kernel = np.exp(-0.5 * (offsets / blur_mm) ** 2)
    padded = np.arange(-REACH_MM - 4 * blur_mm, REACH_MM + 4 * blur_mm + 2 * STEP_MM, STEP_MM)
    line = np.convolve(np.interp(padded, positions, values), kernel / kernel.sum(), "valid")
    return line[: axis().size].astype(np.float32)


def look_up(points: Points, millimetres: Grid, blur_mm: float = 3.0) -> Grid:
    """Return the values of the `table` of `points` at `millimetres`, of the same shape."""
    return table(points, blur_mm)[index(millimetres)]


def index(millimetres: Grid) -> NDArray[np.int32]:
    """Return the places of `millimetres` in a table, int32 of the same shape, clipped."""
    last = axis().size - 1
    places = np.clip((millimetres + REACH_MM) / STEP_MM + 0.5, 0, last)
    return np.asarray(places, dtype=np.int32)
