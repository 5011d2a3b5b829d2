"""The result of every image reader, and the checks common to all formats."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from knee.run.errors import UserError
from knee.storage.arrays import Pixels

BLOCK_VALUES: Final = 1 << 20
SAMPLE_VALUES: Final = 1 << 17  # of a large image, at least
FEW: Final = 0.02  # share of an image's values, at each end
SAMPLE_SIDE_PIXELS: Final = 96  # of the sample that tells whether an image is coloured
OLDEST_YEARS: Final = 90  # stands for all ages above, which would identify
COLOURED: Final = "colour: much of it is not gray, as of a photograph, drawing or screenshot"
# Of 10,384 public radiographs, a third of them stored in colours, none has a pixel in a hundred
# whose samples differ by 2 gray values.
COLOUR_GRAY_VALUES: Final = 24  # between the samples of a coloured pixel, at least
COLOURED_SHARE: Final = 0.05  # of the pixels; a small mark in colour is less


@dataclasses.dataclass(frozen=True)
class Decoded:
    """One decoded image, with what its file says of it: "" or NaN where that is unknown."""

    pixels: Pixels  # (height, width), gray, upright; white is bone
    mode: str  # Pillow's name for the file's pixel layout, DICOM's photometric interpretation
    format: str  # Pillow's name for the file's format, or DICOM
    bits: int  # that the file stores for a sample
    compression: str  # jpeg, png, tiff_lzw, none, ..., or a DICOM transfer syntax's keyword
    pixel_spacing_mm: float = np.nan  # between the centres of neighbouring rows
    spacing_plane: str = ""  # patient or detector, where that spacing holds
    patient: str = dataclasses.field(default="", repr=False)  # in the clear: for memory alone
    side: str = ""  # left or right
    sex: str = ""  # F or M
    age_years: float = np.nan  # at most OLDEST_YEARS
    origin: str = ""  # manufacturer and model of the device
    note: str = ""  # what was doubtful about how to show it, as phrases joined by "; "


def check_size(width: int, height: int, maximum_megapixels: float) -> None:
    """Raise `UnreadableImage` for no pixels or, before any is touched, for too many."""
    if width < 1 or height < 1:
        raise UnreadableImage(f"{width} x {height} px is no image")
    if width * height > maximum_megapixels * 1e6:
        raise UnreadableImage(
            f"{width} x {height} px is above ingest.maximum_megapixels = {maximum_megapixels:g}"
        )


def stretched(values: npt.NDArray[Any], ends: tuple[float, float] | None = None) -> Pixels:
    """Return `values` as 0-255, uint8 of the same shape; a constant image becomes 0.

    `ends` are the values that 0 and 255 stand for; None: `own_range` of `values`.
    """
    if not all(np.isfinite(values[rows]).all() for rows in blocks(values.shape)):
        raise UnreadableImage("holds values that are not numbers")
    low, high = own_range(values) if ends is None else ends
    if not math.isfinite(high - low):
        raise UnreadableImage("holds values that are too far apart")
    scale = 255.0 / (high - low) if high > low else 0.0
    gray = np.empty(values.shape, np.uint8)
    for rows in blocks(values.shape):
        block = np.clip(values[rows].astype(np.float64), low, high)
        gray[rows] = np.rint((block - low) * scale)
    return gray


def own_range(values: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the least and the largest value, without a few that lie far from all others.

    Dead pixels and burnt-in markers would take the range from the bone: left out are values farther
    outside the 2nd to 98th percentile than these are apart. Percentiles are those of `sampled`.
    """
    low, high = float(values.min()), float(values.max())
    sample = sampled(values)
    few = int(FEW * sample.size)
    ordered = np.partition(sample, (few, sample.size - 1 - few))
    least, largest = float(ordered[few]), float(ordered[-1 - few])
    width = largest - least
    near = least - width, largest + width
    if not 0 < width < math.inf or (near[0] <= low and high <= near[1]):
        return low, high
    inside = values[(values >= near[0]) & (values <= near[1])]
    return float(inside.min()), float(inside.max())


def is_coloured(colours: npt.NDArray[np.uint8]) -> bool:
    """Return whether much of an image, uint8 (height, width, 3), is no shade of gray."""
    height, width = (max(side // SAMPLE_SIDE_PIXELS, 1) for side in colours.shape[:2])
    some = colours[::height, ::width]
    differences = some.max(axis=2) - some.min(axis=2)
    return bool((differences >= COLOUR_GRAY_VALUES).mean() >= COLOURED_SHARE)


def sampled(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return every n-th of `values`, in one dimension: some hundred thousand of a large image."""
    return values.ravel()[:: max(values.size // SAMPLE_VALUES, 1)]


def blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices of rows of a million values, so that large images are not copied as a whole."""
    height = shape[0]
    step = max(BLOCK_VALUES * height // max(math.prod(shape), 1), 1)
    return (slice(start, start + step) for start in range(0, height, step))


def error_name(error: Exception) -> str:
    """Return the name of the error's type, which quotes nothing of the file."""
    name = type(error).__name__
    return f"{type(error).__module__}.{name}" if name == "error" else name  # zlib's and struct's


class UnreadableImage(UserError):  # noqa: N818 - says what the file is, not what went wrong here
    """A file that is no usable image; the message is the reason, one line without any path."""
