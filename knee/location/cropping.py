"""The images of single knees that a film holds: each joint at one scale, in a square of its own."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from knee.location import markers
from knee.location.knees import Knee
from knee.location.markers import Marker
from knee.reading.decoded import Decoded
from knee.storage.arrays import Pixels

# 140 mm of an average knee: the tibial plateau is about 76 mm wide.
BOX_WIDTHS: Final = 140 / 76
# A film no longer than this many boxes is one of a single joint already.
CROPPED_BOXES: Final = 1.15
# Widths that a joint of an adult may have on a film, in mm. Means are 66.1 mm (standard deviation
# 3.2) to 83.0 mm (6.2), by people and sex (PMC9703208, table 5): three deviations beyond them, and
# what a film from the front magnifies, 15.3 % (doi:10.1177/20584601221096297).
JOINT_MILLIMETRES: Final = (55.0, 120.0)
WIDTHS, MILLIMETRES, UNCUT = "joint widths", "millimetres", "the film's own size"  # scales
NO_SPACING: Final = "scale: by the joint's width, the file tells no pixel spacing"
WRONG_SPACING: Final = (
    "scale: by the joint's width, which the file's pixel spacing puts outside "
    f"{JOINT_MILLIMETRES[0]:g} to {JOINT_MILLIMETRES[1]:g} mm"
)
NO_KNEE: Final = "no knee was found"
TURNED: Final = "the film lies on its side or head: turn it upright"
TURNED_CERTAINTY: Final = 0.9  # from which a film is refused
MIRRORED_CERTAINTY: Final = 0.9  # from which a doubt is told
MIRRORED: Final = "the fibula lies on the other side: mirrored, seen from behind, or a wrong side"
BACKWARDS: Final = "a marker reads backwards: the film is mirrored, and its sides are the others"
OTHER_SIDE: Final = "a marker names the other side: mirrored, seen from behind, or a wrong side"
CONTRADICTED: Final = "two knees, and its file tells one side: the sides are by their order"


@dataclasses.dataclass(frozen=True)
class KneeImage:
    """One knee of a film."""

    pixels: Pixels  # square, at the film's resolution, black beside the film; or the film itself
    knee: Knee
    side: str  # left or right of the patient, "" where nothing tells
    left: int  # px of the film, where `pixels` begins; negative beyond the film
    top: int
    scale: str  # by what the square has its size: WIDTHS, MILLIMETRES or UNCUT

    @property
    def box_side(self) -> int:
        """Side of the square on the film, px; the longer side of a film that is left as it is."""
        return int(max(self.pixels.shape))

    def place(self) -> dict[str, float]:
        """Return where the knee lies on its film, in px of it, and how surely, by column."""
        return {
            "box_left": self.left,
            "box_top": self.top,
            "box_side_pixels": self.box_side,
            "joint_width_pixels": round(self.knee.width, 1),
            "certainty": round(self.knee.score, 3),
        }


def cut_film(
    image: Decoded, found: Sequence[Knee], side: str, box_widths: float, box_millimetres: float
) -> tuple[list[KneeImage], list[str]]:
    """Return `knee_images` of a file, and what is doubtful about their scale and sides.

    A lone knee of which the file tells no `side` has that of the film's markers.
    """
    spacing_mm = image.pixel_spacing_mm
    marks = markers.read(image.pixels) if found else []
    if len(found) == 1:
        side = side or markers.only_side(marks)
    images = knee_images(
        image.pixels,
        found,
        side,
        box_widths,
        box_millimetres=box_millimetres,
        spacing_mm=spacing_mm,
    )
    scale = []
    if box_millimetres and images and images[0].scale == WIDTHS:
        scale = [NO_SPACING if math.isnan(spacing_mm) else WRONG_SPACING]
    return images, scale + doubts(found, side, marks)


def knee_images(
    film: Pixels,
    found: Sequence[Knee],
    side: str = "",
    box_widths: float = BOX_WIDTHS,
    *,
    box_millimetres: float = 0.0,
    spacing_mm: float = math.nan,
) -> list[KneeImage]:
    """Return an image of each knee `found` on `film`, uint8 (height, width), from left to right.

    Of two knees the one on the left is the patient's right, for films are shown as if the patient
    faced the viewer. A lone knee is of the `side` that is told. A film of one knee that is
    hardly larger than its box comes back as it is.

    Args:
        film: the film.
        found: what `knee.location.knees.locate` returns for it.
        side: what is known of the film as a whole.
        box_widths: side of the square, in joint widths.
        box_millimetres: the same where `spacing_mm` is known, and gives a joint a width that it may
            have; 0: never.
        spacing_mm: of the film's pixels; NaN unknown.
    """
    least, most = JOINT_MILLIMETRES
    plausible = all(least <= knee.width * spacing_mm <= most for knee in found)  # NaN is not
    scale = MILLIMETRES if box_millimetres and plausible else WIDTHS
    widths = [
        box_millimetres / (knee.width * spacing_mm) if scale == MILLIMETRES else box_widths
        for knee in found
    ]
    if len(found) == 1 and max(film.shape) <= CROPPED_BOXES * widths[0] * found[0].width:
        return [KneeImage(film, found[0], side, 0, 0, UNCUT)]
    sides: tuple[str, ...] = ("right", "left") if len(found) == 2 else (side,)
    return [_cut(film, *one, scale) for one in zip(found, sides, widths, strict=False)]


def _cut(film: Pixels, knee: Knee, side: str, box_widths: float, scale: str) -> KneeImage:
    left, top, length = knee.box(box_widths)
    height, width = film.shape
    square = np.zeros((length, length), np.uint8)
    rows = slice(max(top, 0), min(top + length, height))
    columns = slice(max(left, 0), min(left + length, width))
    square[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = film[
        rows, columns
    ]
    return KneeImage(square, knee, side, left, top, scale)


def refusal(found: Sequence[Knee]) -> str:
    """Return why no knee can be cut out of a film on which these are `found`; "" if they can.

    Of a turned film the squares are often wrong, and the side of its knees always.
    """
    if not found:
        return NO_KNEE
    return TURNED if max(knee.turned for knee in found) >= TURNED_CERTAINTY else ""


def seems_mirrored(found: Sequence[Knee], side: str = "") -> bool:
    """Return whether the fibulae surely lie where they cannot.

    Of two knees, both between them; of a lone knee, not where that of its `side` lies. Then the
    film was mirrored or is seen from behind, or the side is wrong.
    """
    sides = ("right", "left") if len(found) == 2 else (side,)
    wrong = [
        knee.lateral_right if own == "right" else 1 - knee.lateral_right
        for knee, own in zip(found, sides, strict=False)
        if own
    ]
    return bool(wrong) and min(wrong) >= MIRRORED_CERTAINTY


def contradicts(marks: Sequence[Marker], found: Sequence[Knee], side: str = "") -> bool:
    """Return whether markers name other sides than the knees `found` have.

    Of two knees those that name the right belong to the left of those that name the left; where
    all name one side, to that half of the film.
    """
    if len(found) < 2:
        return bool(side) and any(mark.side != side for mark in marks)
    of_side = {own: [mark.x for mark in marks if mark.side == own] for own in ("right", "left")}
    middle = (found[0].x + found[1].x) / 2
    right, left = (np.mean(places) if places else middle for places in of_side.values())
    return bool(right > left)


def doubts(found: Sequence[Knee], side: str = "", marks: Sequence[Marker] = ()) -> list[str]:
    """Return what is doubtful about the sides of the knees `found`, each a phrase."""
    said = [MIRRORED] if seems_mirrored(found, side) else []
    if any(mark.mirrored for mark in marks):
        said.append(BACKWARDS)
    elif contradicts(marks, found, side):
        said.append(OTHER_SIDE)
    return said + ([CONTRADICTED] if len(found) == 2 and side else [])
