"""The check whether two images show one radiograph: registered coarse to fine, then compared.

Two knees look alike when blurred. A copy agrees in its detail (a difference of Gaussians)
everywhere, another radiograph does not, however well it is registered. So pairs are registered in a
pyramid of three sizes, dropped where a coarser one fails already, and judged at the finest by their
zero-mean normalised cross-correlation, of the whole and of blocks.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from knee.copies.affine_registration import (
    AffineMaps,
    Agreement,
    Layer,
    agreement,
    inverted,
    refine,
)
from knee.execution import memory
from knee.execution.local import Inline, Threads
from knee.execution.ordered import ordered
from knee.execution.place import Place
from knee.storage.arrays import Floats, Images, Pixels
from knee.storage.image_stacks import ChosenImages, ImageRows, blocks
from knee.storage.known_results import KnownResults

REDUCED_SIDE_PIXELS: Final = 96  # of the image that is registered; pooled by 4, 2 and 1
COARSE_CORRELATION: Final = 0.96  # at 24 x 24: below, no further look
MIDDLE_DETAIL: Final = 0.85  # at 48 x 48
ITERATIONS: Final = (8, 8, 5)  # at 24, 48 and 96 pixels
SMOOTH_PIXELS: Final = 0.7  # band of the detail: standard deviations of the two blurs
COARSE_PIXELS: Final = 3.0
MARGIN_PIXELS: Final = {4: 1, 2: 2, 1: 3}  # at the frame, where a blur sees one side alone
FILLED: Final = 12  # gray values up to this may be the black that turning or shifting leaves
FILL_EDGE: Final = 50  # gray values: radiographs fade into black, a filled corner is cut off
BATCH_PAIRS: Final = 32  # fits the processor's cache
TASK_BATCHES: Final = 8  # half a second
MANY_PAIRS: Final = 1000  # registered at once: two seconds of two cores
PROCESS_BYTES: Final = 0.5e9  # of memory, of one that registers: twice what it takes


@dataclasses.dataclass(frozen=True)
class CopyThresholds:
    """Smallest agreement of a copy."""

    whole: float  # correlation of the aligned detail
    local: float  # lower quartile of its correlations in 8 x 8 blocks
    overlap: float  # share of the image that both show
    marked_whole: float  # correlation of a copy with a line or label of its own
    marked_local: float  # lower quartile of such a copy: beside its marks it must agree more

    def holds(self, agreement: Agreement) -> npt.NDArray[np.bool_]:
        """Return bool (pairs,): which pairs are copies."""
        plain = (agreement.whole >= self.whole) & (agreement.local >= self.local)
        marked = (agreement.whole >= self.marked_whole) & (agreement.local >= self.marked_local)
        return np.asarray((plain | marked) & (agreement.overlap >= self.overlap))

    def loosened(self, slack: float) -> CopyThresholds:
        """Return the same with all correlations smaller by `slack`."""
        smaller = {name: value - slack for name, value in vars(self).items()}
        return CopyThresholds(**{**smaller, "overlap": self.overlap})


class Registered(NamedTuple):
    """Registered pairs: their maps, float64 (pairs, 2, 3), and how well each pair agrees."""

    maps: AffineMaps
    agreement: Agreement


class Batch(NamedTuple):
    """Pairs that are registered together."""

    images: ImageRows
    pairs: npt.NDArray[np.int64]  # (m, 2) of `images`, fixed and moving
    maps: AffineMaps  # where they start

    def __str__(self) -> str:
        return f"a batch of {len(self.pairs)} pairs of images"

    def alone(self) -> Batch:
        """Return the same with an array of the images that it shows, and no others."""
        numbers, places = np.unique(self.pairs, return_inverse=True)
        return Batch(self.images[numbers], places.reshape(-1, 2).astype(np.int64), self.maps)


@dataclasses.dataclass(frozen=True)
class Registrar:
    """Registers pairs: `known` results are used and added to, the others computed at a place.

    That of `MANY_PAIRS` and more at once, if there is one, may take a second to start.
    """

    known: KnownResults | None = None
    place_of: Callable[[], Place] = Threads
    place_of_many: Callable[[], Place] | None = None

    def register(
        self,
        reduced: ImageRows,
        pairs: npt.NDArray[np.int64],
        maps: AffineMaps,
        progress: str = "",
    ) -> Registered:
        """Register the second image of each pair with the first.

        Args:
            reduced: uint8 (n, 96, 96).
            pairs: int64 (m, 2), fixed and moving.
            maps: float64 (m, 2, 3), where to start.
            progress: what the progress bar says; "": none.
        """
        if self.known is None:
            return self._computed(reduced, pairs, maps, progress)
        keys = _keys(reduced, pairs, maps)
        values = [self.known.get(key) for key in keys]
        new = np.array([value is None for value in values], bool)
        made = self._computed(reduced, pairs[new], maps[new], progress)
        table = np.empty((len(pairs), 9))  # a map and its agreement
        table[new] = np.column_stack([made.maps.reshape(-1, 6), *made.agreement])
        table[~new] = np.frombuffer(b"".join(filter(None, values))).reshape(-1, 9)
        for key, row in zip(keys, table, strict=True):
            self.known.add(key, row.tobytes())
        return Registered(table[:, :6].reshape(-1, 2, 3), Agreement(*table[:, 6:].T.copy()))

    def _computed(
        self, reduced: ImageRows, pairs: npt.NDArray[np.int64], maps: AffineMaps, progress: str
    ) -> Registered:
        """The pairs by batches; no pair's result depends on the others of its batch."""
        results = [Registered(np.empty((0, 2, 3)), _nothing(0))]
        count = -(-len(pairs) // BATCH_PAIRS)
        place_of = self.place_of_many if len(pairs) >= MANY_PAIRS else None
        place = (place_of or self.place_of)() if count else Inline()
        chunks = _chunks(reduced, pairs, maps, is_alone=not place.in_process)
        with tqdm(total=count, desc=progress, disable=None if progress else True) as bar:
            for some in ordered(place, register_batches, [], chunks, name=str):
                results += some
                bar.update(len(some))
        agreements = zip(*(result.agreement for result in results), strict=True)
        return Registered(
            np.concatenate([result.maps for result in results]),
            Agreement(*map(np.concatenate, agreements)),
        )


HERE: Final = Registrar()  # nothing is known, threads of this process


def register_batches(batches: Sequence[Batch]) -> list[Registered]:
    """Register some batches; a task of a place of work."""
    memory.keep_freed()
    return [
        _register(images[pairs[:, 0]], images[pairs[:, 1]], maps) for images, pairs, maps in batches
    ]


def trial() -> str:
    """Return a digest of the registration of some generated pairs."""
    from scipy.ndimage import gaussian_filter

    side = REDUCED_SIDE_PIXELS
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(8, side, side)), (0, 3, 3))
    images = np.asarray(np.clip(128 + 400 * noise, 13, 255), np.uint8)
    images[4:] = np.roll(images[:4], 2, axis=2)
    pairs = np.array([[0, 4], [1, 5], [2, 6], [3, 7], [0, 1], [2, 3]])
    maps, found = _register(images[pairs[:, 0]], images[pairs[:, 1]], np.stack([np.eye(2, 3)] * 6))
    return hashlib.sha256(b"".join(one.tobytes() for one in (maps, *found))).hexdigest()


def _chunks(
    reduced: ImageRows, pairs: npt.NDArray[np.int64], maps: AffineMaps, *, is_alone: bool
) -> Iterator[list[Batch]]:
    """Yield some batches for each task, with their own images if it `is_alone`."""
    step = BATCH_PAIRS * TASK_BATCHES
    for first in range(0, len(pairs), step):
        starts = range(first, min(first + step, len(pairs)), BATCH_PAIRS)
        parts = [slice(start, start + BATCH_PAIRS) for start in starts]
        batches = [Batch(reduced, pairs[part], maps[part]) for part in parts]
        yield [batch.alone() for batch in batches] if is_alone else batches


def _keys(reduced: ImageRows, pairs: npt.NDArray[np.int64], maps: AffineMaps) -> list[bytes]:
    """The digest of each pair's images and start: a result depends on nothing else."""
    numbers = np.unique(pairs)
    shown = (image for images in blocks(ChosenImages(reduced, numbers)) for image in images)
    images = {
        number: hashlib.sha256(image).digest()
        for number, image in zip(numbers.tolist(), shown, strict=True)
    }
    return [
        hashlib.sha256(images[one] + images[two] + start.tobytes()).digest()
        for (one, two), start in zip(pairs.tolist(), maps, strict=True)
    ]


def _register(fixed: Pixels, moving: Pixels, maps: AffineMaps) -> Registered:
    """One batch; pairs that fail at a coarser size are not looked at again."""
    result = _nothing(len(maps))
    maps, whole, swapped = _coarse(fixed, moving, maps)
    swap = swapped[:, None, None]
    fixed, moving = np.where(swap, moving, fixed), np.where(swap, fixed, moving)
    going = np.flatnonzero(whole >= COARSE_CORRELATION)
    for factor, iterations in ((2, ITERATIONS[1]), (1, ITERATIONS[2])):
        if not len(going):
            break
        one, two = (_level(images[going], factor) for images in (fixed, moving))
        maps[going] = refine(one, two, maps[going], iterations)
        there = agreement(one, two, maps[going])
        if factor == 1:
            better = there.better(agreement(two, one, inverted(maps[going])))
            for values, found in zip(result, better, strict=True):
                values[going] = found
        going = going[there.whole >= MIDDLE_DETAIL]
    maps[swapped] = inverted(maps[swapped])
    return Registered(maps, result)


def _coarse(
    fixed: Pixels, moving: Pixels, maps: AffineMaps
) -> tuple[AffineMaps, Floats, npt.NDArray[np.bool_]]:
    """Maps and correlations at the coarsest size, and which pairs fit better the other way round.

    The corners that turning left black belong to the derived image alone: laid over it, the
    source shows nothing there; the other way round they are compared with its bones.
    """
    one, two = (_level(images, 4) for images in (fixed, moving))
    there = refine(one, two, maps, ITERATIONS[0])
    back = refine(two, one, inverted(maps), ITERATIONS[0])
    whole, whole_back = agreement(one, two, there).whole, agreement(two, one, back).whole
    swapped = whole_back > whole
    return np.where(swapped[:, None, None], back, there), np.maximum(whole, whole_back), swapped


def _level(images: Pixels, factor: int) -> Layer:
    """The pyramid level pooled by `factor`; band-passed except the coarsest, without detail."""
    from scipy.ndimage import gaussian_filter

    side = images.shape[1] // factor
    pooled = np.asarray(images, np.float32)
    if factor > 1:
        pooled = images.reshape(-1, side, factor, side, factor).mean((2, 4), np.float32)
    values = gaussian_filter(pooled, (0, SMOOTH_PIXELS, SMOOTH_PIXELS), truncate=3)
    if factor < 4:
        values -= gaussian_filter(pooled, (0, COARSE_PIXELS, COARSE_PIXELS), truncate=2)
    return Layer(np.asarray(values, np.float32), _seen(pooled, MARGIN_PIXELS[factor]))


def _seen(pooled: Images, margin: int) -> Images:
    """1, and 0 at the frame and around hard edges to black, which no radiograph has."""
    beside_black = _widened(pooled, 1, np.minimum) <= FILLED
    edge = beside_black & (_widened(pooled, 1, np.maximum) >= FILL_EDGE)
    seen = np.zeros(pooled.shape, np.float32)
    within = slice(margin, -margin)
    seen[:, within, within] = ~_widened(edge, margin, np.logical_or)[:, within, within]
    return seen


def _widened(values: Any, reach: int, choose: np.ufunc) -> Any:
    """The least or greatest (`choose`) of each place and its neighbours up to `reach` away.

    SciPy's minimum_filter and maximum_filter give the same in three times the time.
    """
    for before in ((slice(None),), (slice(None), slice(None))):
        found = values.copy()
        for step in range(1, reach + 1):
            late, early = (*before, slice(step, None)), (*before, slice(None, -step))
            choose(found[late], values[early], out=found[late])
            choose(found[early], values[late], out=found[early])
        values = found
    return values


def _nothing(pairs: int) -> Agreement:
    return Agreement(*np.zeros((3, pairs)))
