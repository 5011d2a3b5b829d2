"""The images of single knees that a film holds: each joint at one scale, in a square of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np

from knee.location.knees import Knee
from knee.storage.arrays import Pixels

# 140 mm of an average knee: the tibial plateau is about 76 mm wide.
BOX_WIDTHS: Final = 140 / 76
# A film no longer than this many boxes is one of a single joint already.
CROPPED_BOXES: Final = 1.15
NO_KNEE: Final = "no knee was found"
TURNED: Final = "the film lies on its side or head: turn it upright"
TURNED_CERTAINTY: Final = 0.9  # from which a film is refused
MIRRORED: Final = "the fibula lies on the other side: mirrored, seen from behind, or a wrong side"
CONTRADICTED: Final = "two knees, and its file tells one side: the sides are by their order"


@dataclasses.dataclass(frozen=True)
class KneeImage:
    """One knee of a film."""

    pixels: Pixels  # square, at the film's resolution, black beside the film; or the film itself
    knee: Knee
    side: str  # left or right of the patient, "" where nothing tells
    left: int  # px of the film, where `pixels` begins; negative beyond the film
    top: int

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


def knee_images(
    film: Pixels, found: Sequence[Knee], side: str = "", box_widths: float = BOX_WIDTHS
) -> list[KneeImage]:
    """Return an image of each knee `found` on `film`, uint8 (height, width), from left to right.

    Of two knees the one on the left is the patient's right, for films are shown as if the patient
    faced the viewer. A lone knee is of the `side` that the file tells. A film of one knee that is
    hardly larger than its box comes back as it is.

    Args:
        film: the film.
        found: what `knee.location.knees.locate` returns for it.
        side: what is known of the film as a whole.
        box_widths: side of the square, in joint widths.
    """
    if len(found) == 1 and max(film.shape) <= CROPPED_BOXES * box_widths * found[0].width:
        return [KneeImage(film, found[0], side, 0, 0)]
    sides: tuple[str, ...] = ("right", "left") if len(found) == 2 else (side,)
    return [_cut(film, knee, own, box_widths) for knee, own in zip(found, sides, strict=False)]


def _cut(film: Pixels, knee: Knee, side: str, box_widths: float) -> KneeImage:
    left, top, length = knee.box(box_widths)
    height, width = film.shape
    square = np.zeros((length, length), np.uint8)
    rows = slice(max(top, 0), min(top + length, height))
    columns = slice(max(left, 0), min(left + length, width))
    square[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = film[
        rows, columns
    ]
    return KneeImage(square, knee, side, left, top)


def refusal(found: Sequence[Knee]) -> str:
    """Return why no knee can be cut out of a film on which these are `found`; "" if they can.

    Of a turned film the squares are often wrong, and the side of its knees always.
    """
    if not found:
        return NO_KNEE
    return TURNED if max(knee.turned for knee in found) >= TURNED_CERTAINTY else ""


def seems_mirrored(found: Sequence[Knee], side: str = "", certainty: float = 0.9) -> bool:
    """Return whether the fibulae lie where they cannot, as surely as given.

    Of two knees, both between them; of a lone knee, not where that of its `side` lies. Then the
    film was mirrored or is seen from behind, or the side is wrong.
    """
    sides = ("right", "left") if len(found) == 2 else (side,)
    wrong = [
        knee.lateral_right if own == "right" else 1 - knee.lateral_right
        for knee, own in zip(found, sides, strict=False)
        if own
    ]
    return bool(wrong) and min(wrong) >= certainty


def doubts(found: Sequence[Knee], side: str = "") -> list[str]:
    """Return what is doubtful about the sides of the knees `found`, each a phrase."""
    mirrored = [MIRRORED] if seems_mirrored(found, side) else []
    return mirrored + ([CONTRADICTED] if len(found) == 2 and side else [])
