"""Look-alikes in any pose: turned, squashed, mirrored, zoomed or shifted candidates for copies.

Matching against a bank of templates: an image turned about its centre keeps a round disc, so the
disc of each image, blurred, is taken in every pose of the bank and looked up among the discs of all
images as they are. Discs have mean 0 and length 1, so their inner product is their correlation, and
faiss finds the nearest: exhaustively, or for many images in the nearest cells of an inverted file.
The pose that fits best is where the registration starts.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from tqdm import tqdm

from knee.copies.affine_registration import AffineMaps
from knee.copies.hash_search import load_faiss, nearest
from knee.storage.arrays import Floats, Images, Integers, Pixels
from knee.storage.image_stacks import ChosenImages, ImageRows

if TYPE_CHECKING:
    from scipy import sparse

POOLED_SIDE_PIXELS: Final = 32  # of the image that is turned
BLUR_PIXELS: Final = 1.0  # standard deviation: a pose between two of the bank still fits
DISC_SIDE_PLACES: Final = 16
DISC_RADIUS: Final = 0.9  # of half a side
ZOOMS: Final = (1.0, 0.83, 1.2)
SHIFTS: Final = (0.0, 0.08, -0.08, 0.16, -0.16)  # of half a side, across and down
ANGLES_DEGREES: Final = tuple(range(15, 360, 15))
ASPECTS: Final = (0.5, 0.75, 1.0, 1.33, 2.0)  # height to width before the image became square
BATCH_IMAGES: Final = 64  # looked up at once
ADDED_IMAGES: Final = 1024 * BATCH_IMAGES  # to the index at once
EXHAUSTIVE_IMAGES: Final = 20_000  # above, the nearest cells alone are searched
SEARCHED_CELLS: Final = 24


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Pairs that may be copies, each at most twice: with the second as it is, and mirrored."""

    pairs: Integers  # (m, 2), the fixed image and the moving one
    maps: AffineMaps  # (m, 2, 3), from the fixed image's places to the moving one's
    similarity: Floats  # (m,), correlation of the discs, -1 to 1


def pose_bank(turned: bool) -> AffineMaps:
    """Return the poses, float64 (poses, 2, 3), upright ones first, with the turned ones or not."""
    upright = [_pose(0, 1, zoom, mirror) for mirror, zoom in itertools.product((1, -1), ZOOMS)]
    shifted = [
        _pose(0, 1, 1, mirror, (across, down))
        for mirror, across, down in itertools.product((1, -1), SHIFTS, SHIFTS)
        if across or down
    ]
    all_around = [
        _pose(angle, aspect, 1, mirror)
        for mirror, aspect, angle in itertools.product((1, -1), ASPECTS, ANGLES_DEGREES)
    ]
    return np.stack(upright + shifted + (all_around if turned else []))


class DiscIndex:
    """The discs of images as they are, where others are looked up; memory holds no second copy."""

    def __init__(self, reduced: ImageRows) -> None:
        """Index the images, uint8 (n, side, side), the side a multiple of 32."""
        self.reduced = reduced
        self.index = _index(reduced, _operator(pose_bank(turned=False)[:1]))


def look_alikes(
    reduced: ImageRows | DiscIndex, poses: AffineMaps, neighbours: int, similarity: float
) -> Candidates:
    """Return each image's nearest others, in the best upright and the best mirrored pose of each.

    Exhaustive up to `EXHAUSTIVE_IMAGES` images.

    Args:
        reduced: uint8 (n, side, side), the side a multiple of 32, or an index of them.
        poses: see `pose_bank`.
        neighbours: at most about so many others for an image.
        similarity: smallest correlation of the discs.
    """
    turning = _operator(poses)
    found = reduced if isinstance(reduced, DiscIndex) else DiscIndex(reduced)
    reduced, index = found.reduced, found.index
    results: list[tuple[Integers, Integers, Images]] = []
    mirrors = np.linalg.det(poses[:, :, :2]) < 0
    for start in tqdm(starts_of_batches(len(reduced)), "look-alikes", disable=None):
        discs = _discs(reduced[start : start + BATCH_IMAGES], turning, len(poses))
        correlations, others = index.search(discs, min(neighbours + 1, len(reduced)))
        row, rank = np.nonzero(correlations >= similarity)
        moving, pose = row // len(poses) + start, row % len(poses)
        fixed, correlation = others[row, rank], correlations[row, rank]
        # A knee is nearly its own mirror image: the best pose of each kind may be the true one.
        kind = np.where(fixed == moving, -1, 2 * fixed + mirrors[pose])
        chosen = _best(moving, kind, correlation, 2 * neighbours + 1)
        chosen = chosen[kind[chosen] >= 0]
        pairs = np.stack([fixed, moving], axis=1)[chosen]
        results.append((pairs, pose[chosen], correlation[chosen]))
    pairs, pose, correlation = (np.concatenate(column) for column in zip(*results, strict=True))
    kind = 2 * pairs.max(axis=1) + mirrors[pose]
    chosen = _best(pairs.min(axis=1), kind, correlation, 2 * len(reduced))
    return Candidates(pairs[chosen], poses[pose[chosen]], correlation[chosen].astype(np.float64))


def starts_of_batches(images: int) -> range:
    """Return the first number of each batch of images."""
    return range(0, images, BATCH_IMAGES)


def _pose(
    angle_degrees: float,
    aspect: float,
    zoom: float,
    mirror: int,
    shift: tuple[float, float] = (0.0, 0.0),
) -> AffineMaps:
    """The map from the pose's places to the upright image's."""
    angle = np.deg2rad(angle_degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shape = np.diag([1.0, aspect])
    linear = np.linalg.inv(shape) @ turn @ shape @ np.diag([float(mirror), 1.0]) / zoom
    return np.concatenate([linear, np.reshape(shift, (2, 1))], axis=1)


def _operator(poses: AffineMaps) -> sparse.csr_matrix:
    """The matrix (poses * places, pixels) that takes the disc of a pooled image in every pose.

    Sparse, with the weights of a bilinear interpolation.
    """
    from scipy import sparse

    side = POOLED_SIDE_PIXELS
    centres = (np.arange(DISC_SIDE_PLACES) + 0.5) * 2 / DISC_SIDE_PLACES - 1
    y, x = np.meshgrid(centres, centres, indexing="ij")
    disc = x**2 + y**2 <= DISC_RADIUS**2
    places = np.stack([x[disc], y[disc], np.ones(disc.sum())])
    at = np.clip(((poses @ places) + 1) * side / 2 - 0.5, 0, side - 1).swapaxes(0, 1)
    low = np.minimum(at.astype(np.int64), side - 2).reshape(2, -1)
    share = at.reshape(2, -1) - low
    rows = np.arange(low.shape[1])
    corners = [
        (
            np.abs(1 - right - share[0]) * np.abs(1 - below - share[1]),
            (rows, (low[1] + below) * side + low[0] + right),
        )
        for right, below in itertools.product((0, 1), (0, 1))
    ]
    shape = (len(rows), side * side)
    return sum(
        (sparse.csr_matrix(corner, shape=shape) for corner in corners),
        start=sparse.csr_matrix(shape, dtype=np.float64),
    ).astype(np.float32)


def _discs(images: Pixels, operator: sparse.csr_matrix, poses: int) -> Images:
    """The discs of a batch, float32 (batch * poses, places): mean 0, length 1, or all 0."""
    from scipy.ndimage import gaussian_filter

    edge = images.shape[1] // POOLED_SIDE_PIXELS
    parts = (-1, POOLED_SIDE_PIXELS, edge, POOLED_SIDE_PIXELS, edge)
    batch = images.reshape(parts).mean((2, 4), np.float32)
    blurred = gaussian_filter(batch, (0, BLUR_PIXELS, BLUR_PIXELS)).reshape(len(batch), -1)
    discs = (operator @ blurred.T).T.reshape(len(batch) * poses, -1)
    discs -= discs.mean(axis=1, keepdims=True)
    length = np.linalg.norm(discs, axis=1, keepdims=True)
    return np.ascontiguousarray(discs / np.where(length > 1, length, np.inf), np.float32)


def _index(reduced: ImageRows, upright: sparse.csr_matrix) -> Any:
    """The index of the images' discs by their inner products."""
    faiss = load_faiss()
    places = upright.shape[0]
    if len(reduced) <= EXHAUSTIVE_IMAGES:
        index = faiss.IndexFlatIP(places)
    else:
        cells = int(4 * len(reduced) ** 0.5)
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(places), places, cells, faiss.METRIC_INNER_PRODUCT
        )
        index.nprobe = SEARCHED_CELLS
        some = np.arange(0, len(reduced), max(1, len(reduced) // (cells * 40)))
        index.train(np.concatenate(list(_upright_discs(ChosenImages(reduced, some), upright))))
    for discs in _upright_discs(reduced, upright):
        index.add(discs)
    return index


def _upright_discs(reduced: ImageRows, upright: sparse.csr_matrix) -> Iterator[Images]:
    """Yield the discs of all images as they are, of `ADDED_IMAGES` at once."""
    for first in range(0, len(reduced), ADDED_IMAGES):
        starts = range(first, min(first + ADDED_IMAGES, len(reduced)), BATCH_IMAGES)
        parts = [_discs(reduced[start : start + BATCH_IMAGES], upright, 1) for start in starts]
        yield np.concatenate(parts)


def _best(one: Integers, two: Integers, similarity: Images, neighbours: int) -> Integers:
    """Places where each pair is most similar, for the nearest `neighbours` of each `one`."""
    order: Integers = np.lexsort((-similarity, two, one))
    changes = np.diff(one[order], prepend=-1) | np.diff(two[order], prepend=-2)
    order = order[changes != 0]
    return order[nearest(one[order], two[order], -similarity[order], neighbours)]
