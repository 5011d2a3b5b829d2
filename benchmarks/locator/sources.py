"""Pictures of one knee each, of which the joint is known: synthetic films and graded crops."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from knee.copies.affine_registration import Layer, agreement, refine, warp
from knee.storage.arrays import Images, Pixels
from knee.synthetic import rendering
from knee.synthetic.anatomy import bone_quality, physique

PLATEAU_MM: Final = 76.0  # breadth of the tibial plateau of the average synthetic knee
# Middle of the joint space, and width of the plateau, on the mean graded crop, fibula on the right,
# as shares of its side: medians of 6,170 crops, by the edges of the bone.
MEAN_JOINT: Final = (0.517, 0.583, 0.8185)
REGISTERED_PIXELS, SURROUNDINGS_PIXELS = 56, 4.0  # side of a crop; Gaussian standard deviation
ROUNDS, STEPS = 4, 8  # of registration with the mean
LEAST_LIKENESS: Final = 0.65  # correlation with the mean
BATCH: Final = 128  # crops registered at once


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


def graded(files: Sequence[Path]) -> dict[Path, Source]:
    """Read graded crops named ...L or ...R whose joint is clear; others are left out."""
    crops, rights = [], []
    for file in files:
        with Image.open(file) as image:
            crops.append(np.asarray(image.convert("L")))
        rights.append(file.stem.endswith("L"))
    turned = [crop if right else np.fliplr(crop) for crop, right in zip(crops, rights, strict=True)]
    return {
        file: Source(crop, joint[0] if right else len(crop) - joint[0], *joint[1:], right,
                     graded=True, whole_crop=True)
        for file, crop, right, joint in zip(
            files, crops, rights, registered_joints(turned), strict=True
        )
        if joint is not None
    }  # fmt: skip


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


def registered_joints(crops: Sequence[Pixels]) -> list[tuple[float, float, float] | None]:
    """Return x, y and width, px, of the joint on each crop, fibula on the right; None if unclear.

    The crops are registered with their mean, again and again (Lucas-Kanade, affine), so the joint
    of each is that of the mean, whose place is known. Negatives, one crop in a hundred, and joints
    that are like no others are unclear.
    """
    images = np.stack([_locally_standardised(crop) for crop in crops])
    maps = np.repeat(np.eye(2, 3)[None], len(images), axis=0)
    for _ in range(ROUNDS):
        values, _ = warp(Layer(images, np.ones_like(images)), maps)
        mean = values.mean(axis=0).reshape(images.shape[1:])
        maps = np.concatenate([
            refine(*_layers(mean, images[part]), maps[part], STEPS) for part in _parts(len(images))
        ])  # fmt: skip
    alike = np.concatenate([
        agreement(*_layers(mean, images[part]), maps[part]).whole for part in _parts(len(images))
    ])  # fmt: skip
    centres = maps @ np.array([2 * MEAN_JOINT[0] - 1, 2 * MEAN_JOINT[1] - 1, 1])
    # Registration leaves open where the mean lies and how large it is: as the median crop.
    centres = (centres - np.median(centres, axis=0) + 1) / 2 + np.subtract(MEAN_JOINT[:2], 0.5)
    widths = np.linalg.norm(maps[:, :, 0], axis=1)
    widths *= MEAN_JOINT[2] / np.median(widths)
    return [
        (x * len(crop), y * len(crop), width * len(crop)) if sure >= LEAST_LIKENESS else None
        for crop, (x, y), width, sure in zip(
            crops, centres.tolist(), widths.tolist(), alike, strict=True
        )
    ]


def _layers(mean: Images, moving: Images) -> tuple[Layer, Layer]:
    fixed = np.repeat(mean[None], len(moving), axis=0)
    return Layer(fixed, np.ones_like(fixed)), Layer(moving, np.ones_like(moving))


def _parts(number: int) -> list[slice]:
    """Slices of at most `BATCH` of so many."""
    return [slice(start, start + BATCH) for start in range(0, number, BATCH)]


def _locally_standardised(crop: Pixels) -> Images:
    """The crop, small, without what exposure and soft tissue do to its grays."""
    size = (REGISTERED_PIXELS, REGISTERED_PIXELS)
    gray = np.asarray(Image.fromarray(crop).resize(size, Image.Resampling.BOX), np.float32)
    detail = gray - gaussian_filter(gray, SURROUNDINGS_PIXELS)
    spread = np.sqrt(gaussian_filter(detail**2, SURROUNDINGS_PIXELS)) + 2
    return np.asarray(np.clip(detail / spread, -3, 3), dtype=np.float32)
