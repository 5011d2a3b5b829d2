"""Pictures of one knee each, of which the joint is known: synthetic films and graded crops."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from knee.storage.arrays import Images, Pixels
from knee.synthetic import rendering
from knee.synthetic.anatomy import bone_quality, physique

PLATEAU_MM: Final = 76.0  # breadth of the tibial plateau of the average synthetic knee
PLAUSIBLE_WIDTHS: Final = (0.68, 0.93)  # of a graded crop's side


@dataclasses.dataclass(frozen=True)
class Source:
    """A picture of one upright knee, white bone; lengths in px of the picture."""

    pixels: Pixels
    x: float  # middle of the joint space
    y: float
    width: float  # of the tibial plateau
    lateral_right: bool  # whether the fibula lies on the right
    graded: bool  # the joint is that of a real film
    whole_crop: bool = False  # nothing is known beyond the joint


def synthetic(number: int, size_pixels: int, seed: int) -> list[Source]:
    """Draw synthetic knees, half of them whole legs."""
    sources = []
    for index in range(number):
        random = np.random.default_rng([seed, 7, index])
        body, bone = physique(random), bone_quality(random.uniform(-4, 1), random)
        side: rendering.Side = "L" if random.random() < 0.5 else "R"
        view: rendering.View = "close-up" if index % 2 else "whole-leg"
        shot = rendering.draw_acquisition(view, side, size_pixels, body, random)
        gray = rendering.develop(shot, rendering.expose(shot, body, bone), bone, random)
        angle = np.radians(shot.rotation_degrees)
        turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        across, down = turned @ -np.array(shot.centre_mm) / shot.mm_per_pixel
        x = shot.width / 2 + (across if side == "L" else -across)
        width = PLATEAU_MM * body.size * body.flare / shot.mm_per_pixel
        pixels = np.rint(gray * 255).astype(np.uint8)
        sources.append(Source(pixels, x, shot.height / 2 + down, width, side == "L", graded=False))
    return sources


def graded(files: Iterable[Path]) -> list[Source]:
    """Read graded crops named ...L or ...R whose joint can be measured; others are left out."""
    found = []
    for file in files:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("L"))
        measured = measured_joint(pixels)
        if measured is not None:
            found.append(
                Source(pixels, *measured, file.stem.endswith("L"), graded=True, whole_crop=True)
            )
    return found


def grafted(crops: Sequence[Source], legs: Sequence[Source], seed: int) -> list[Source]:
    """Return `crops`, each blended into a synthetic leg at its joint, so that it has surroundings.

    The gray values of the crop are brought to the mean and the spread of what they replace.
    """
    random = np.random.default_rng([seed, 11])
    results = []
    for crop in crops:
        leg = legs[int(random.integers(len(legs)))]
        pixels = crop.pixels if crop.lateral_right == leg.lateral_right else crop.pixels[:, ::-1]
        x = crop.x if pixels is crop.pixels else len(crop.pixels) - crop.x
        scale = crop.width / leg.width
        affine = (scale, 0, x - scale * leg.x, 0, scale, crop.y - scale * leg.y)
        size, method = leg.pixels.shape[::-1], Image.Transform.AFFINE
        bilinear = Image.Resampling.BILINEAR
        ramp = np.minimum.reduce(np.meshgrid(*2 * (_ramp(len(crop.pixels)),)))
        moved, mask = (
            np.asarray(
                Image.fromarray(one).transform(size, method, affine, bilinear), dtype=np.float32
            )
            for one in (np.ascontiguousarray(pixels), np.rint(ramp * 255).astype(np.uint8))
        )
        blended = _blended(leg.pixels, moved, mask / 255)
        results.append(dataclasses.replace(leg, pixels=blended, graded=True))
    return results


def _blended(leg: Pixels, joint: Images, share: NDArray[np.floating]) -> Pixels:
    """`leg` with a `share` of `joint`, which gets the mean and the spread of what it replaces."""
    inside = share > 0
    before, after = leg[inside].astype(np.float32), joint[inside]
    level = (joint - after.mean()) * (before.std() / (after.std() + 1)) + before.mean()
    blended: Images = np.clip(leg * (1 - share) + level * share, 0, 255).astype(np.float32)
    return np.rint(blended).astype(np.uint8)


def _ramp(side: int) -> Images:
    """0 at the ends, 1 but for an eighth of the side at each."""
    from_end = np.minimum(np.arange(side), np.arange(side)[::-1])
    return np.asarray(np.clip(from_end / (side / 8), 0, 1), dtype=np.float32)


def measured_joint(crop: Pixels) -> tuple[float, float, float] | None:
    """Return x, y and width, px, of the joint on a graded crop by its edges, or None if unclear.

    The joint space is the dark line between bright plates in both compartments, the width lies
    between the steepest edges just below it. Of a negative, one crop in a hundred, both are wrong.
    """
    gray, side = crop.astype(np.float32), len(crop)
    lines = []
    for start, stop in ((0.2, 0.38), (0.62, 0.8)):
        profile = _smooth(np.median(gray[:, int(start * side) : int(stop * side)], axis=1))
        rows, reach = np.arange(int(0.36 * side), int(0.78 * side)), round(0.04 * side)
        depth = np.minimum(profile[rows - reach], profile[rows + reach]) - profile[rows]
        if depth.max() < 0.02 * np.ptp(gray):
            return None
        lines.append(int(rows[depth.argmax()]))
    y = float(np.mean(lines))
    edges = np.diff(_smooth(gray[int(y + 0.06 * side) : int(y + 0.16 * side)].mean(axis=0)))
    third = int(0.3 * side)
    left = 2 + int(edges[2:third].argmax())
    right = len(edges) - third + int(edges[-third:-2].argmin())
    plausible = PLAUSIBLE_WIDTHS[0] * side <= right - left <= PLAUSIBLE_WIDTHS[1] * side
    if abs(lines[0] - lines[1]) > 0.05 * side or not plausible:
        return None
    return (left + right) / 2 + 1, y + 0.5, float(right - left)


def _smooth(profile: Images, sigma: int = 2) -> Images:
    kernel = np.exp(-0.5 * (np.arange(-3 * sigma, 3 * sigma + 1) / sigma) ** 2)
    padded = np.pad(profile, 3 * sigma, mode="edge")
    return np.asarray(np.convolve(padded, kernel / kernel.sum(), "valid"), dtype=np.float32)
