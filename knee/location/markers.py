"""The lead letters on a film, R and L: whose side it shows, and whether it is mirrored.

Only a light plate with a dark letter is read. Plain letters look too much like edges of bone.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from knee.storage.arrays import Floats, Pixels

FILM_PIXELS: Final = 512  # longer side of the film on which letters are looked for
LEVELS: Final = (110, 150, 190, 220)  # gray values, of which a plate is above one
PLATE_SHARE: Final = (0.015, 0.12)  # height of a plate, of the longer side of the film
PLATE_ASPECT: Final = (0.4, 3.0)  # its width by its height
LEAST_PIXELS: Final = 6  # height of a plate
FILLED_SHARE: Final = 0.88  # of its rectangle that a plate takes, with its letter
FRAME_SHARE: Final = 0.08  # of its height that is left out on each side
LEAST_CONTRAST: Final = 50  # gray values between letter and plate
LETTER_PIXELS: Final = 20  # side of the square in which letters are compared
LEAST_CORRELATION: Final = 0.7  # with the letter, and how much more than with all others
LEAST_LEAD: Final = 0.25
LETTERS: Final = (("R", "right"), ("L", "left"))
STROKES: Final = (0, 6, 12)  # px of a letter of 120, by which it is thickened


@dataclasses.dataclass(frozen=True)
class Marker:
    """A letter on a film."""

    side: str  # left or right, of the patient
    mirrored: bool  # it reads backwards
    x: float  # its middle, px of the film
    y: float
    correlation: float  # with the letter


def read(film: Pixels) -> list[Marker]:
    """Return the letters on `film`, uint8 (height, width), each once, the plainest first."""
    image = Image.fromarray(film)
    scale = min(1.0, FILM_PIXELS / max(image.size))
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    small = np.asarray(image.resize(size, Image.Resampling.BOX, reducing_gap=2.0))
    found: list[Marker] = []
    apart = PLATE_SHARE[0] * max(film.shape)
    for one in sorted(_letters(small, scale), key=lambda one: -one.correlation):
        if all(abs(one.x - other.x) + abs(one.y - other.y) > apart for other in found):
            found.append(one)
    return found


def only_side(found: Sequence[Marker]) -> str:
    """Return the side that all letters name; "" if there is none, or one reads backwards."""
    sides = {one.side for one in found}
    return sides.pop() if len(sides) == 1 and not any(one.mirrored for one in found) else ""


def _letters(film: Pixels, scale: float) -> Iterator[Marker]:
    """Every letter on a reduced film, once for each level at which its plate stands out."""
    for level in LEVELS:
        labels, _ = ndimage.label(film > level)
        for number, place in enumerate(ndimage.find_objects(labels), start=1):
            height, width = (part.stop - part.start for part in place)
            if not _is_as_large_as_a_plate(height, width, max(film.shape)):
                continue
            if ndimage.binary_fill_holes(labels[place] == number).mean() < FILLED_SHARE:
                continue
            read_as = _letter(film[place])
            if read_as is not None:
                rows, columns = place
                x, y = (columns.start + width / 2) / scale, (rows.start + height / 2) / scale
                yield Marker(read_as[0], read_as[1], x, y, read_as[2])


def _is_as_large_as_a_plate(height: int, width: int, film: int) -> bool:
    least, most = max(PLATE_SHARE[0] * film, LEAST_PIXELS), PLATE_SHARE[1] * film
    narrow, wide = PLATE_ASPECT
    return least <= height <= most and narrow * height <= width <= wide * height


def _letter(plate: Pixels) -> tuple[str, bool, float] | None:
    """Side, whether it is mirrored, and correlation of the dark letter on a plate, if it has one.

    The letter fills the square in which it is compared: plates are stretched as films are.
    """
    frame = max(1, round(FRAME_SHARE * len(plate)))
    inside = 255 - plate[frame:-frame, frame:-frame]
    low, high = int(inside.min(initial=255)), int(inside.max(initial=0))
    if high - low < LEAST_CONTRAST:
        return None
    rows, columns = np.nonzero(inside > (low + high) / 2)
    letter = inside[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    side = (LETTER_PIXELS, LETTER_PIXELS)
    square = Image.fromarray(np.ascontiguousarray(letter)).resize(side, Image.Resampling.BICUBIC)
    kinds, known = _known_letters()
    correlations = known @ _standardised(np.asarray(square)) / known.shape[1]
    best = int(correlations.argmax())
    others = correlations[[kind != kinds[best] for kind in kinds]]
    if correlations[best] < LEAST_CORRELATION or correlations[best] - others.max() < LEAST_LEAD:
        return None
    return (*kinds[best], float(correlations[best]))


@functools.cache
def _known_letters() -> tuple[list[tuple[str, bool]], Floats]:
    """Side and whether it is mirrored of each known form, and the forms as standardised rows."""
    font = ImageFont.load_default(120)
    kinds, rows = [], []
    for letter, side in LETTERS:
        for stroke in STROKES:
            page = Image.new("L", (240, 240))
            ImageDraw.Draw(page).text((60, 30), letter, 255, font, stroke_width=stroke)
            square = page.crop(page.getbbox()).resize((LETTER_PIXELS,) * 2, Image.Resampling.BOX)
            for blur in (0.8, 1.6):
                form = ndimage.gaussian_filter(np.asarray(square, dtype=np.float64), blur)
                for mirrored in (False, True):
                    kinds.append((side, mirrored))
                    rows.append(_standardised(form[:, ::-1] if mirrored else form))
    return kinds, np.asarray(rows)


def _standardised(form: npt.NDArray[Any]) -> Floats:
    values = form.astype(np.float64).ravel()
    return np.asarray((values - values.mean()) / (values.std() + 1e-6))
