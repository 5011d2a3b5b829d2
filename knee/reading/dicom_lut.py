"""The grayscale pipeline of DICOM: stored values to the 8-bit gray values that are shown.

In the order of the standard (PS3.3 C.7.6.3, C.11.1, C.11.2): modality table or rescale, then value
of interest table or window, then inversion where low values are white. Once each.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from knee.reading.decoded import UnreadableImage, blocks, own_range, sampled, stretched
from knee.storage.arrays import Floats, Pixels

WIDEST_TABLE: Final = 1 << 16  # stored values of up to 16 bits go through a table
FEWEST_LEVELS: Final = 16  # of gray, that nearly all pixels of a radiograph take up
LEAST_BETWEEN: Final = 0.05  # share of a radiograph's pixels that are neither black nor white
LUMA: Final = (0.299, 0.587, 0.114)  # ITU-R BT.601, as for the other formats
FIRST: Final = (1.0, 0.0, 0.0)  # of YBR_FULL the first sample is the luma


@dataclasses.dataclass(frozen=True)
class Lookup:
    """A lookup table; values outside of it take its first or last entry."""

    first: int  # value that the first entry stands for, modulo 65536: see `__call__`
    entries: npt.NDArray[Any]  # (n,) of any integer type
    bits: int = 16  # of an entry, by the header

    def __call__(self, values: Floats) -> Floats:
        """Return the entries for `values`, of any shape.

        The first value has the sign of what goes into the table (PS3.3 C.11.2.1.1), whatever the
        file's type for it: below 0 only if some of `values` are. The other sign is taken where that
        one leaves all values outside.
        """
        least, largest, count = values.min(), values.max(), len(self.entries)
        unsigned, signed = self.first % 65536, (self.first + 32768) % 65536 - 32768
        firsts = (signed, unsigned) if least < 0 else (unsigned, signed)
        reached = (first for first in firsts if first <= largest and least < first + count)
        places = np.rint(values) - next(reached, firsts[0])
        return np.asarray(self.entries[np.clip(places, 0, count - 1).astype(int)])

    @property
    def ends(self) -> tuple[float, float]:
        """Black and white: of entries of `bits` bits, or their own range if they need others."""
        least, largest = int(self.entries.min()), int(self.entries.max())
        return (0, 2**self.bits - 1) if largest.bit_length() == self.bits else (least, largest)


@dataclasses.dataclass(frozen=True)
class Window:
    """A window of values that fills the range of gray."""

    center: float
    width: float  # at least 1 if linear, above 0 otherwise
    function: str = "LINEAR"  # or LINEAR_EXACT or SIGMOID

    @property
    def usable(self) -> bool:
        """Whether the standard allows these numbers."""
        least = self.width >= 1 if self.function == "LINEAR" else self.width > 0
        return bool(least and np.isfinite(self.center) and np.isfinite(self.width))

    def __call__(self, values: Floats) -> Floats:
        """Return `values` as 0-1, by PS3.3 C.11.2.1.2 and C.11.2.1.3."""
        if self.function == "SIGMOID":
            exponent = np.clip(-4 * (values - self.center) / self.width, -700, 700)
            return np.asarray(1 / (1 + np.exp(exponent)))
        narrower = 1.0 if self.function == "LINEAR" else 0.0
        center, width = self.center - narrower / 2, self.width - narrower
        if width == 0:
            return np.asarray(values > center, np.float64)
        return np.clip((values - center) / width + 0.5, 0, 1)


@dataclasses.dataclass(frozen=True)
class Display:
    """Settings by which stored values are shown."""

    bits: int  # that are stored for a value
    signed: bool = False  # whether stored values can be negative
    # Stored value to the modality's, by a table or slope and intercept; None: the same.
    modality: Lookup | tuple[float, float] | None = None
    interest: Lookup | Window | None = None  # those to gray; None: all values, see `render`
    inverted: bool = False  # whether low values are white
    wants_window: bool = False  # whether there should be an `interest`, but none is usable

    @property
    def as_stored(self) -> bool:
        """Whether the values are gray values already."""
        return self.bits <= 8 and self.modality is None and self.interest is None


def render(stored: npt.NDArray[Any], display: Display, padding: npt.NDArray[np.bool_]) -> Pixels:
    """Return gray values, uint8 in the shape of `stored`; where `padding` is true, black.

    Without a table or window of interest, values of up to 8 bits stay as they are, as in any
    other format, and deeper or rescaled ones are scaled so that the image's own range, padding left
    out, fills 0-255 (`decoded.own_range`, of the stored values).
    """
    if padding.all():
        padding = np.zeros_like(padding)  # all would be nothing: the header must be wrong
    image = stored[~padding] if padding.any() else stored
    low, high = image.min(), image.max()
    if display.interest is None and not display.as_stored:
        low, high = (stored.dtype.type(end) for end in own_range(image))
    if np.issubdtype(stored.dtype, np.integer) and int(high) - int(low) < WIDEST_TABLE:
        table = _gray(np.arange(int(low), int(high) + 1, dtype=np.float64), display)
        gray = np.empty(stored.shape, np.uint8)
        for rows in blocks(stored.shape):
            gray[rows] = table[np.clip(stored[rows], low, high).astype(np.int64) - int(low)]
    else:
        gray = _gray(np.clip(stored, low, high).astype(np.float64), display)
    if padding.any():
        gray[padding] = 0
    return np.asarray(gray, np.uint8)


def render_or_range(
    stored: npt.NDArray[Any], display: Display, padding: npt.NDArray[np.bool_]
) -> tuple[Pixels, list[str]]:
    """Return what `render` does, by the image's own range if the table or window leaves nothing.

    The second value says so, as a phrase, in that case.
    """
    gray = render(stored, display, padding)
    if display.interest is None:
        wanted = ["window: none that the standard allows, shown by its own range"]
        return gray, wanted if display.wants_window else []
    if _shows_nothing(gray, padding):
        by_range = render(stored, dataclasses.replace(display, interest=None), padding)
        if not _shows_nothing(by_range, padding):
            return by_range, ["window: leaves nearly nothing, shown by its own range"]
    return gray, []


def is_gray_ybr(colour: npt.NDArray[Any], bits: int) -> bool:
    """Return whether (height, width, 3) must be luminance and no colour, whatever their label."""
    middle, off = 2 ** (bits - 1), 2**bits // 64
    chroma = sampled(colour[..., 1]), sampled(colour[..., 2])
    return all(middle - off <= one.min() and one.max() <= middle + off for one in chroma)


def luma(colour: npt.NDArray[Any], bits: int, weights: tuple[float, float, float] = LUMA) -> Pixels:
    """Return the luma, uint8 (height, width), of (height, width, 3 or 4) with `bits` a sample."""
    gray = np.empty(colour.shape[:2], np.uint8)
    for rows in blocks(colour.shape):
        part = (
            colour[rows, :, :3].astype(np.float64) @ np.array(weights) * (255 / float(2**bits - 1))
        )
        gray[rows] = np.rint(np.clip(part, 0, 255))
    return gray


def _shows_nothing(gray: Pixels, padding: npt.NDArray[np.bool_]) -> bool:
    """Return whether nearly all gray values are alike, or nearly all black or white."""
    image = sampled(gray[~padding] if padding.any() else gray)
    counts = np.bincount(image, minlength=256)
    shares = np.cumsum(counts) / image.size
    least, largest = np.searchsorted(shares, (0.01, 0.99))
    between = counts[1:-1].sum() / image.size
    return bool(largest - least < FEWEST_LEVELS or between < LEAST_BETWEEN)


def _gray(stored: Floats, display: Display) -> Pixels:
    """Gray values, uint8 in the shape of `stored`, without padding."""
    values = stored
    if isinstance(display.modality, Lookup):
        values = display.modality(values)
    elif display.modality is not None:
        slope, intercept = display.modality
        values = values * slope + intercept
    if not np.isfinite(values).all():
        raise UnreadableImage("holds values that are not numbers")
    if isinstance(display.interest, Window):
        gray = np.rint(display.interest(values) * 255).astype(np.uint8)
    elif isinstance(display.interest, Lookup):
        gray = stretched(display.interest(values), display.interest.ends)
    elif display.as_stored:
        lowest = -(2 ** (display.bits - 1)) if display.signed else 0
        gray = np.rint((values - lowest) * (255 / (2**display.bits - 1)))
        gray = np.clip(gray, 0, 255).astype(np.uint8)  # headers err about the bits, too
    else:
        gray = stretched(values, (float(values.min()), float(values.max())))
    return 255 - gray if display.inverted else gray
