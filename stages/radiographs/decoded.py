"""What every reader of images hands on, and the rules that hold for all of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.radiographs.files import UnreadableImage


@dataclasses.dataclass(frozen=True)
class Decoded:
    """One decoded image.

    Attributes:
        pixels: uint8 (height, width), gray, upright; white is bone.
        mode: Pillow's name for the file's pixel layout, DICOM's photometric interpretation.
        format: Pillow's name for the file's format, or DICOM.
        bits: that the file stores for a sample.
        compression: jpeg, png, tiff_lzw, none, ..., or a DICOM transfer syntax's keyword.
        pixel_spacing_mm: between the centres of neighbouring rows; NaN unknown.
        patient: the patient's number in the clear, "" unknown: for memory alone.
        side: left, right or "".
        sex: F, M or "".
        age_years: NaN unknown; 90 stands for all ages above, which would identify.
        origin: manufacturer and model of the device, "" unknown.
    """

    pixels: npt.NDArray[np.uint8]
    mode: str
    format: str
    bits: int
    compression: str
    pixel_spacing_mm: float = np.nan
    patient: str = dataclasses.field(default="", repr=False)
    side: str = ""
    sex: str = ""
    age_years: float = np.nan
    origin: str = ""


def check_size(width: int, height: int, maximum_megapixels: float) -> None:
    """Refuse by the header what would be too large, before any pixel is touched.

    Raises:
        UnreadableImage: it is.
    """
    if width < 1 or height < 1:
        raise UnreadableImage(f"{width} x {height} px is no image")
    if width * height > maximum_megapixels * 1e6:
        raise UnreadableImage(
            f"{width} x {height} px is above ingest.maximum_megapixels = {maximum_megapixels:g}"
        )


def stretched(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Any range to 0-255; a constant image becomes 0."""
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all():
        raise UnreadableImage("holds values that are not numbers")
    low, high = float(values.min()), float(values.max())
    scale = 255.0 / (high - low) if high > low else 0.0
    return np.rint((values - low) * scale).astype(np.uint8)


def kind(error: Exception) -> str:
    """The name of the error's type, which quotes nothing of the file."""
    name = type(error).__name__
    return f"{type(error).__module__}.{name}" if name == "error" else name  # zlib's and struct's
