"""The search for knees on a film: a heat map of the whole film, then a closer look at each peak.

Both networks are small, trained by benchmarks/locator on composites in which every joint is known.
Lengths are in joint widths (the breadth of the tibial plateau), so no pixel spacing is needed.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Final

import numpy as np
from PIL import Image

from knee.location import convolutions, locator_weights
from knee.location.convolutions import Weights
from knee.storage.arrays import Images, Pixels

FILM_PIXELS: Final = 160  # longer side of the film for the heat map
CELL_PIXELS: Final = 8  # of the film, side of a cell of the heat map
CLOSE_PIXELS: Final = 80  # side of the closer look, as it is trained
CLOSE_STRIDE: Final = 16  # of its pixels, side of a cell of its last convolution
CLOSE_WIDTHS: Final = 2.0  # the same in joint widths
LOOKS: Final = 4  # closer looks at a joint, each from where the last one saw it
LEAST_HEAT: Final = 0.1  # of a peak that is looked at
LEAST_SCORE: Final = 0.7  # of a knee
MIRRORED: Final = np.array([-1, 1, 1, 1, -1, 1], np.float32)  # signs of a look's results
UPRIGHT: Final = np.float32(-50)  # logit
MOST_KNEES: Final = 2
APART_WIDTHS: Final = 1.1  # at least, between two knees, across; legs that touch are 1.4 apart
MOST_RATIO: Final = 1.4  # of the widths of two knees


@dataclasses.dataclass(frozen=True)
class Knee:
    """A joint on a film, in pixels of the film; the corner of the film is the origin."""

    x: float  # middle of the joint space
    y: float
    width: float  # of the joint
    score: float  # 0-1
    lateral_right: float  # 0-1, how surely the fibula lies on the right of the film
    turned: float = 0.0  # 0-1, how surely the knee is turned by more than 45 degrees

    def box(self, widths: float) -> tuple[int, int, int]:
        """Return left, top and side, px, of the square of `widths` joint widths around the joint.

        It may reach beyond the film.
        """
        side = max(round(widths * self.width), 1)
        return round(self.x - side / 2), round(self.y - side / 2), side


def locate(film: Pixels, weights: Weights | None = None) -> list[Knee]:
    """Return the knees on `film`, uint8 (height, width), from left to right: none, one or two.

    A second knee lies beside the surest one and is about as wide: the film is taken as upright.
    Without `weights` the search has the project's.
    """
    weights = weights or _weights()
    found: list[Knee] = []
    image = Image.fromarray(film)
    for start in candidates(image, weights):
        knee = _looked_at(image, start, weights)
        if knee.score >= LEAST_SCORE and all(_beside(knee, other) for other in found):
            found.append(knee)
        if len(found) == MOST_KNEES:
            break
    return sorted(found, key=lambda knee: knee.x)


def film_input(image: Image.Image) -> Images:
    """Return the whole of a gray image for `heat_map`, float32 (FILM_PIXELS, FILM_PIXELS).

    It lies at the top left, 0 beside it.
    """
    scale = FILM_PIXELS / max(image.size)
    width, height = (max(round(side * scale), 1) for side in image.size)
    small = image.resize((width, height), Image.Resampling.BOX if scale < 1 else
                         Image.Resampling.BILINEAR, reducing_gap=2.0)  # fmt: skip
    square = np.zeros((FILM_PIXELS, FILM_PIXELS), np.float32)
    square[:height, :width] = standardised(np.asarray(small, dtype=np.float32))
    return square


def close_input(
    image: Image.Image, x: float, y: float, width: float, pixels: int = CLOSE_PIXELS
) -> Images:
    """Return what lies around a joint for `close_look`, float32 (pixels, pixels).

    `x`, `y` and `width` are in px of the image; beside the image is 0.
    """
    side = CLOSE_WIDTHS * width
    left, top = x - side / 2, y - side / 2
    inner = (max(left, 0.0), max(top, 0.0),
             min(left + side, image.width), min(top + side, image.height))  # fmt: skip
    scale = pixels / side
    columns = _cells((inner[0] - left) * scale, (inner[2] - left) * scale, pixels)
    rows = _cells((inner[1] - top) * scale, (inner[3] - top) * scale, pixels)
    square = np.zeros((pixels, pixels), np.float32)
    if columns.start < columns.stop and rows.start < rows.stop:
        size = (columns.stop - columns.start, rows.stop - rows.start)
        part = image.resize(size, Image.Resampling.BILINEAR, box=inner)
        square[rows, columns] = standardised(np.asarray(part, dtype=np.float32))
    return square


def candidates(image: Image.Image, weights: Weights) -> list[Knee]:
    """Return the peaks of the heat map of a film, the hottest first."""
    heat, width = heat_map(film_input(image), weights)
    padded = np.pad(heat, 1, constant_values=-np.inf)
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).max(axis=(2, 3))
    rows, columns = np.nonzero((heat >= around) & (_probability(heat) >= LEAST_HEAT))
    longer = max(image.size)
    cell = CELL_PIXELS * longer / FILM_PIXELS
    peaks = [
        Knee(
            x=(column + 0.5) * cell,
            y=(row + 0.5) * cell,
            width=math.exp(float(np.clip(width[row, column], -5, 1))) * longer,
            score=float(_probability(heat[row, column])),
            lateral_right=0.5,
        )
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
    ]
    return sorted(peaks, key=lambda peak: -peak.score)[: 3 * MOST_KNEES]


def heat_map(film: Images, weights: Weights) -> tuple[Images, Images]:
    """Return the odds of a joint in each cell, as logit, and the logarithm of its relative width.

    Both float32 (FILM_PIXELS / CELL_PIXELS,) * 2; widths are relative to the film's longer side.
    """
    fine = convolutions.rectified(film[..., None], weights, "film1", 2)
    fine = convolutions.rectified(fine, weights, "film2", 2)
    fine = convolutions.rectified(fine, weights, "film3", 2)
    fine = convolutions.rectified(fine, weights, "film4")
    coarse = convolutions.rectified(fine, weights, "film5", 2)
    coarse = convolutions.rectified(coarse, weights, "film6")
    coarse = convolutions.rectified(coarse, weights, "film7")
    coarse = convolutions.rectified(coarse, weights, "film8")
    joined = fine + coarse.repeat(2, axis=0).repeat(2, axis=1)
    joined = convolutions.rectified(joined, weights, "film9")
    heat, width = np.moveaxis(convolutions.convolve(joined, weights, "film10"), 2, 0)
    return heat, width


def close_look(near: Images, weights: Weights) -> Images:
    """Return what is seen of a joint from near by, float32 (6,).

    Its distance from the middle in x and y, in joint widths as assumed; the logarithm of its width
    relative to the assumed one; the logits of being a joint, of a fibula on the right and of being
    turned, which earlier weights do not tell.
    """
    seen = convolutions.rectified(near[..., None], weights, "close1", 2)
    seen = convolutions.rectified(seen, weights, "close2", 2)
    seen = convolutions.rectified(seen, weights, "close3")
    seen = convolutions.rectified(seen, weights, "close4", 2)
    seen = convolutions.rectified(seen, weights, "close5")
    seen = convolutions.rectified(seen, weights, "close6", 2)
    hidden = np.maximum(convolutions.dense(seen.ravel(), weights, "close7"), np.float32(0))
    return np.append(convolutions.dense(hidden, weights, "close8"), UPRIGHT)[:6]


def look_pixels(weights: Weights) -> int:
    """Return the side of the closer look by `weights`: a model may have earlier ones."""
    cells = len(weights["close7_kernel"]) // len(weights["close6_bias"])
    return CLOSE_STRIDE * math.isqrt(cells)


def standardised(values: Images) -> Images:
    """Return `values` with mean 0 and, unless they are constant, standard deviation 1."""
    return np.asarray((values - values.mean()) / (values.std() + 1.0), dtype=np.float32)


@functools.cache
def _weights() -> dict[str, Images]:
    return locator_weights.read(locator_weights.PATH, locator_weights.recorded_sha256())


def _looked_at(image: Image.Image, start: Knee, weights: Weights) -> Knee:
    """`start` as closer looks see it; its score is that of the last."""
    x, y, width, score, right, turned = dataclasses.astuple(start)
    pixels = look_pixels(weights)
    for number in range(LOOKS):
        near = close_input(image, x, y, width, pixels)
        seen = close_look(near, weights)
        if number == LOOKS - 1:  # and in the mirror, where left and right change places
            mirrored = close_look(near[:, ::-1], weights) * MIRRORED
            seen = np.asarray((seen + mirrored) / 2, dtype=np.float32)
        x, y = x + float(seen[0]) * width, y + float(seen[1]) * width
        width *= math.exp(float(np.clip(seen[2], -0.7, 0.7)))
        score, right, turned = _probability(seen[3:]).tolist()
        if not (0 <= x <= image.width and 0 <= y <= image.height):
            return Knee(x, y, width, 0.0, right, turned)
    return Knee(x, y, width, score, right, turned)


def _beside(one: Knee, other: Knee) -> bool:
    """Whether two knees can be those of one person who stands upright."""
    across, down = abs(one.x - other.x), abs(one.y - other.y)
    alike = max(one.width, other.width) <= MOST_RATIO * min(one.width, other.width)
    return alike and across > APART_WIDTHS * max(one.width, other.width) and across > down


def _cells(start: float, stop: float, pixels: int) -> slice:
    return slice(max(round(start), 0), min(round(stop), pixels))


def _probability(logits: Images) -> Images:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -50, 50))), dtype=np.float32)
