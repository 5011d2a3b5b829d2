"""Affine registration of image pairs by least squares, and the agreement of registered pairs.

The inverse compositional Lucas-Kanade algorithm (Baker and Matthews, "Lucas-Kanade 20 years on",
IJCV 56(3), 2004), for a batch of pairs at once: the gradients are those of the fixed image, taken
once; each step is solved for the fixed image and its inverse composed with the map. Gain and offset
of the gray values are free, and pixels that one of the two does not show have no weight, so the
Hessian is summed anew in each step.

Images are float32 (pairs, side, side). A map is float64 (2, 3): it takes a place (x, y, 1) of the
fixed image to the place of the moving image that shows the same, both from -1 to 1 between the
outer edges, so one map holds at every size.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from knee.storage.arrays import Floats, Images

LARGEST_STEP: Final = 0.2  # of half a side, by which one iteration changes a map
SMALLEST_GAIN: Final = 0.2  # of the ratio of the contrasts: keeps a bad start from fading out
ROUNDING: Final = 0.01  # pixels beyond the last centre that still are in the image
FAR_AWAY: Final = np.array([[0, 0, 1e6], [0, 0, 1e6]])  # the place of a map that is no number
BLOCKS: Final = 8  # a side; local agreement is looked at in BLOCKS x BLOCKS parts
LOCAL_QUANTILE: Final = 0.25  # of the blocks with something in them
FULL_BLOCK: Final = 0.6  # share of a block's pixels that both images must show
FAINT: Final = 0.1  # blocks with less than this share of the strong blocks' energy say nothing

AffineMaps = npt.NDArray[np.float64]


class Layer(NamedTuple):
    """Images and where they say something, both float32 (pairs, side, side); seen is 0 or 1."""

    values: Images
    seen: Images


class Agreement(NamedTuple):
    """How well registered images agree, float64 (pairs,) each."""

    whole: Floats  # Pearson correlation over what both show, -1 to 1; 0 where one is constant
    local: Floats  # lower quartile of the blocks' correlations, -1 to 1; 0 without blocks
    overlap: Floats  # share of the fixed image that the moving one shows

    def better(self, other: Agreement) -> Agreement:
        """Return the better of two registrations of each pair, by its worse correlation."""
        ours = self.smaller() >= other.smaller()
        return Agreement(*(np.where(ours, *values) for values in zip(self, other, strict=True)))

    def smaller(self) -> Floats:
        """Return the smaller of the correlations of each pair, float64 (pairs,)."""
        return np.minimum(self.whole, self.local)


def warp(moving: Layer, maps: AffineMaps) -> tuple[Images, Images]:
    """Resample the moving images in the fixed ones' places, bilinearly.

    Returns:
        The values, and where they are seen (1 or 0), float32 (pairs, pixels) each.
    """
    pairs, side, _ = moving.values.shape
    lost = ~np.isfinite(maps).all((1, 2), keepdims=True)
    places = np.where(lost, FAR_AWAY, maps).astype(np.float32) @ _places(side)
    places += 1
    places *= np.float32(side / 2)
    places -= np.float32(0.5)
    x, y = places[:, 0], places[:, 1]
    low, high = -ROUNDING, side - 1 + ROUNDING
    is_inside = (x >= low) & (x <= high)
    is_inside &= y >= low
    is_inside &= y <= high
    # A map that ran away is far outside everywhere: clipping keeps the indices valid.
    x, y = np.clip(x, 0, side - 1.001), np.clip(y, 0, side - 1.001)
    # Numbers of pixels are whole numbers below 2^24, which float32 has all.
    width, first = np.float32(side), (np.arange(pairs) * side * side)[:, None]
    nearest = (np.rint(y) * width + np.rint(x)).astype(np.int64)
    nearest += first
    inside = moving.seen.ravel().take(nearest)
    inside *= is_inside
    left, above = np.floor(x), np.floor(y)
    index = (above * width + left).astype(np.int64)
    index += first
    x -= left  # shares of the pixel to the right, and below
    y -= above
    flat = moving.values.ravel()
    values = _between(flat.take(index), flat.take(index + 1), x)
    index += side
    return _between(values, _between(flat.take(index), flat.take(index + 1), x), y), inside


def _between(one: Images, two: Images, share: Images) -> Images:
    """The values so far from `one` to `two`; both are overwritten."""
    two -= one
    two *= share
    one += two
    return one


def refine(fixed: Layer, moving: Layer, maps: AffineMaps, iterations: int) -> AffineMaps:
    """Return `maps` after so many Gauss-Newton steps towards the least squared difference."""
    pairs = len(fixed.values)
    descent = _steepest_descent(fixed.values)
    flat, seen = fixed.values.reshape(pairs, -1), fixed.seen.reshape(pairs, -1)
    for _ in range(iterations):
        values, inside = warp(moving, maps)
        inside *= seen
        # Means are taken out of images and gradients alike: so the offset is free.
        count = _count(inside)
        values, target = _centred(values, inside, count), _centred(flat, inside, count)
        values *= _gain(values, target)[:, None]
        values -= target  # now the difference
        masked = descent * inside[:, None]
        hessian = (masked @ descent.transpose(0, 2, 1)).astype(np.float64)
        mean = masked.sum(2, dtype=np.float64)
        hessian -= mean[:, :, None] * mean[:, None] / count[:, :, None]
        gradient = (masked @ values[:, :, None]).astype(np.float64)
        step = np.asarray(np.linalg.solve(hessian + _ridge(hessian), gradient), np.float64)
        maps = composed(maps, inverted(_limited(step.reshape(pairs, 2, 3))))
    return maps


def agreement(fixed: Layer, moving: Layer, maps: AffineMaps) -> Agreement:
    """Return how well the registered pairs agree; the side must be a multiple of `BLOCKS`."""
    values, inside = warp(moving, maps)
    target = fixed.values.reshape(len(values), -1)
    inside *= fixed.seen.reshape(len(values), -1)
    count = _count(inside)
    whole = _correlation(_centred(values, inside, count), _centred(target, inside, count))
    local = _local_correlation(values, target, inside, fixed.values.shape[1])
    return Agreement(whole, local, inside.mean(1, dtype=np.float64))


def inverted(maps: AffineMaps) -> AffineMaps:
    """Return the maps from the moving images to the fixed ones."""
    linear = maps[:, :, :2]
    determinant = linear[:, 0, 0] * linear[:, 1, 1] - linear[:, 0, 1] * linear[:, 1, 0]
    safe = np.where(np.abs(determinant) > 1e-6, determinant, 1e-6)  # such a map agrees with nothing
    inverse = np.empty_like(maps)
    inverse[:, 0, 0], inverse[:, 1, 1] = linear[:, 1, 1] / safe, linear[:, 0, 0] / safe
    inverse[:, 0, 1], inverse[:, 1, 0] = -linear[:, 0, 1] / safe, -linear[:, 1, 0] / safe
    inverse[:, :, 2:] = -inverse[:, :, :2] @ maps[:, :, 2:]
    return inverse


def composed(outer: AffineMaps, inner: AffineMaps) -> AffineMaps:
    """Return the maps that apply `inner` first, then `outer`."""
    composed = outer[:, :, :2] @ inner
    composed[:, :, 2] += outer[:, :, 2]
    return composed


def _places(side: int) -> Images:
    """The centre of each pixel as x, y and 1, float32 (3, pixels)."""
    centres = ((np.arange(side) + 0.5) * 2 / side - 1).astype(np.float32)
    y, x = np.meshgrid(centres, centres, indexing="ij")
    return np.stack([x.ravel(), y.ravel(), np.ones(side * side, np.float32)])


def _steepest_descent(fixed: Images) -> Images:
    """Change of each gray value with each number of the map, float32 (pairs, 6, pixels)."""
    pairs, side, _ = fixed.shape
    down, across = np.gradient(fixed, axis=(1, 2))
    places = _places(side)[None]
    per_axis = [
        (slope * np.float32(side / 2)).reshape(pairs, 1, -1) * places for slope in (across, down)
    ]
    return np.concatenate(per_axis, axis=1).astype(np.float32)


def _count(inside: Images) -> Images:
    return np.asarray(np.maximum(inside.sum(-1, keepdims=True), 1), np.float32)


def _centred(values: Images, inside: Images, count: Images) -> Images:
    """`values` with mean 0 at the `count` places inside, along the last axis, and 0 outside."""
    centred: Images = values * inside
    mean = centred.sum(-1, keepdims=True) / count
    np.subtract(values, mean, out=centred)
    centred *= inside
    return centred


def _gain(values: Images, target: Images) -> Images:
    """The factor that fits `values` to `target` best, bounded below by the contrasts' ratio."""
    # einsum rounds a single pair otherwise than several: a pair has one result in any batch.
    energy = np.maximum(np.vecdot(values, values), 1e-9)
    fitted = np.vecdot(values, target) / energy
    contrast = np.sqrt(np.vecdot(target, target) / energy)
    return np.asarray(np.maximum(fitted, SMALLEST_GAIN * contrast), np.float32)


def _ridge(hessian: Floats) -> Floats:
    """A small diagonal (Tikhonov), so that nothing moves where nothing is seen."""
    trace = np.trace(hessian, axis1=1, axis2=2)
    return np.asarray(np.eye(6) * (1e-3 * trace / 6 + 1e-9)[:, None, None], np.float64)


def _limited(step: Floats) -> AffineMaps:
    """The step as a map, shortened to `LARGEST_STEP`."""
    largest = np.abs(step).max((1, 2), keepdims=True)
    shortened = step * np.minimum(1, LARGEST_STEP / np.maximum(largest, 1e-12))
    return np.asarray(shortened + np.eye(2, 3), np.float64)


def _correlation(one: Images, two: Images) -> Floats:
    """The correlation of centred values along the last axis; 0 where one is constant."""
    product = (one * two).sum(-1, dtype=np.float64)
    energy = (one * one).sum(-1, dtype=np.float64) * (two * two).sum(-1, dtype=np.float64)
    return np.where(energy > 1e-6, product / np.sqrt(np.maximum(energy, 1e-12)), 0.0)


def _local_correlation(values: Images, target: Images, inside: Images, side: int) -> Floats:
    """The lower quartile of the blocks' correlations; blocks that show little do not count."""
    values, target, inside = (_blocks(one, side) for one in (values, target, inside))
    count = _count(inside)
    values, target = _centred(values, inside, count), _centred(target, inside, count)
    energy = np.maximum((values**2).sum(2), (target**2).sum(2)) / count[:, :, 0]
    strong = np.quantile(energy, 0.8, axis=1, keepdims=True)
    telling = (inside.mean(2) >= FULL_BLOCK) & (energy > FAINT * strong)
    correlation = np.where(telling, _correlation(values, target), np.inf)
    ordered = np.sort(correlation, axis=1)  # blocks that do not count come last
    chosen = np.floor((telling.sum(1) - 1).clip(0) * LOCAL_QUANTILE).astype(np.int64)
    quartile = np.take_along_axis(ordered, chosen[:, None], axis=1)[:, 0]
    return np.where(np.isfinite(quartile), quartile, 0.0)


def _blocks(values: Images, side: int) -> Images:
    """`values` as (pairs, blocks, pixels of a block)."""
    edge = side // BLOCKS
    parts = values.reshape(-1, BLOCKS, edge, BLOCKS, edge).swapaxes(2, 3)
    return parts.reshape(len(values), BLOCKS * BLOCKS, edge * edge)
