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


@dataclasses.dataclass(frozen=True)
class Decoded:
    """One decoded image, with what its file says of it: "" or NaN where that is unknown."""

    pixels: Pixels  # (height, width), gray, upright; white is bone
    mode: str  # Pillow's name for the file's pixel layout, DICOM's photometric interpretation
    format: str  # Pillow's name for the file's format, or DICOM
    bits: int  # that the file stores for a sample
    compression: str  # jpeg, png, tiff_lzw, none, ..., or a DICOM transfer syntax's keyword
    pixel_spacing_mm: float = np.nan  # between the centres of neighbouring rows
    patient: str = dataclasses.field(default="", repr=False)  # in the clear: for memory alone
    side: str = ""  # left or right
    sex: str = ""  # F or M
    age_years: float = np.nan  # 90 stands for all ages above, which would identify
    origin: str = ""  # manufacturer and model of the device


def check_size(width: int, height: int, maximum_megapixels: float) -> None:
    """Raise `UnreadableImage` for no pixels or, before any is touched, for too many."""
    if width < 1 or height < 1:
        raise UnreadableImage(f"{width} x {height} px is no image")
    if width * height > maximum_megapixels * 1e6:
        raise UnreadableImage(
            f"{width} x {height} px is above ingest.maximum_megapixels = {maximum_megapixels:g}"
        )


def stretched(values: npt.NDArray[Any], ends: npt.NDArray[Any] | None = None) -> Pixels:
    """Return `values` as 0-255, uint8 of the same shape; a constant image becomes 0.

    0 and 255 stand for the least and the largest of `ends`; None: of `values` themselves.
    """
    if not all(np.isfinite(values[rows]).all() for rows in blocks(values.shape)):
        raise UnreadableImage("holds values that are not numbers")
    ends = values if ends is None else ends
    low, high = float(ends.min()), float(ends.max())
    if not math.isfinite(high - low):
        raise UnreadableImage("holds values that are too far apart")
    scale = 255.0 / (high - low) if high > low else 0.0
    gray = np.empty(values.shape, np.uint8)
    for rows in blocks(values.shape):
        gray[rows] = np.rint((values[rows].astype(np.float64) - low) * scale)
    return gray


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
