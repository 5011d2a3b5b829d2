"""The DICOM header: how its pixels are shown, and the little that is kept about the image.

`dataset` is pydicom's. Headers err in every way: what cannot be read counts as not being there.
"""

from __future__ import annotations

import math
import re
from collections.abc import MutableSequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from knee.reading import dicom_limits
from knee.reading.decoded import UnreadableImage
from knee.reading.dicom_lut import Display, Lookup, Window
from knee.run import messages

PHOTOMETRICS: Final = (
    *("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB"),
    *("YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"),
)
FUNCTIONS: Final = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
SIDES: Final = {"L": "left", "R": "right"}
OLDEST_YEARS: Final = 90
YEARS: Final = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
TEXT_CHARACTERS: Final = 64  # the longest text of the value representation LO


def photometric(dataset: Any) -> str:
    """Return the photometric interpretation; `UnreadableImage` if it is none of PHOTOMETRICS."""
    name = text(dataset, "PhotometricInterpretation").upper()
    if name not in PHOTOMETRICS:
        raise UnreadableImage(f"DICOM pixels that are none of {', '.join(PHOTOMETRICS)}")
    return name


def bits(dataset: Any) -> int:
    """Return the bits that are stored for a sample."""
    allocated = int(dataset.BitsAllocated)
    stored = number(dataset, "BitsStored")
    return int(stored) if 1 <= stored <= allocated else allocated


def display(dataset: Any) -> Display:
    """Return how the stored values become gray."""
    function = text(dataset, "VOILUTFunction").upper()
    window = Window(
        number(dataset, "WindowCenter"),
        number(dataset, "WindowWidth"),
        function if function in FUNCTIONS else "LINEAR",
    )
    table = _lookup(dataset, "VOILUTSequence")
    return Display(
        bits=bits(dataset),
        signed=number(dataset, "PixelRepresentation") == 1,
        modality=_modality(dataset),
        interest=table or (window if window.usable else None),
        inverted=photometric(dataset) == "MONOCHROME1",
    )


def padding(dataset: Any, stored: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which of the `stored` values stand for no part of the image, bool of their shape."""
    value, limit = number(dataset, "PixelPaddingValue"), number(dataset, "PixelPaddingRangeLimit")
    if math.isnan(value):
        return np.zeros(stored.shape, np.bool_)
    low, high = (value, value) if math.isnan(limit) else sorted((value, limit))
    return np.asarray((stored >= low) & (stored <= high))


def pixel_spacing_mm(dataset: Any) -> float:
    """Return the spacing of rows, in mm: in the patient, else on the detector; NaN unknown."""
    spacings = (number(dataset, name) for name in ("PixelSpacing", "ImagerPixelSpacing"))
    return next((spacing for spacing in spacings if spacing > 0), math.nan)


def patient(dataset: Any) -> str:
    """Return the patient's number in the clear, or what an anonymiser left in its place."""
    return text(dataset, "PatientID")


def side(dataset: Any) -> str:
    """Return left, right or "": of the image, else of the examined part."""
    letters = (text(dataset, keyword).upper() for keyword in ("ImageLaterality", "Laterality"))
    return next((SIDES[letter] for letter in letters if letter in SIDES), "")


def sex(dataset: Any) -> str:
    """Return F, M or ""."""
    letter = text(dataset, "PatientSex").upper()
    return letter if letter in ("F", "M") else ""


def age_years(dataset: Any) -> float:
    """Return the patient's age, NaN if unknown; above 90 it would identify, and is 90."""
    match = re.fullmatch(r"(\d{1,3})([YMWD])", text(dataset, "PatientAge").upper())
    if match is None:
        return math.nan
    return min(OLDEST_YEARS, round(int(match[1]) * YEARS[match[2]], 2))


def origin(dataset: Any) -> str:
    """Return manufacturer and model of the device."""
    maker, model = text(dataset, "Manufacturer"), text(dataset, "ManufacturerModelName")
    return model if maker and model.startswith(maker) else f"{maker} {model}".strip()


def text(dataset: Any, keyword: str) -> str:
    """Return the element's first text in printable letters; "" if there is none."""
    value = _first(dataset, keyword)
    if not isinstance(value, str):  # an item of a sequence would print what is in it
        return ""
    return " ".join(messages.printable(value, " ").split())[:TEXT_CHARACTERS]


def number(dataset: Any, keyword: str) -> float:
    """Return the element's first number; NaN if there is none."""
    try:
        value = float(_first(dataset, keyword))
    except (TypeError, ValueError):
        return math.nan
    return value if math.isfinite(value) else math.nan


def _first(dataset: Any, keyword: str) -> Any:
    try:
        value = dataset.get(keyword)
    except Exception:  # whatever pydicom trips over when it converts a damaged value
        return None
    if isinstance(value, MutableSequence):
        return value[0] if len(value) else None
    return value


def _modality(dataset: Any) -> Lookup | tuple[float, float] | None:
    """Table, or slope and intercept; None if they change nothing."""
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    linear = (slope, 0.0 if math.isnan(intercept) else intercept)
    changes = slope != 0 and not math.isnan(slope) and linear != (1.0, 0.0)
    return _lookup(dataset, "ModalityLUTSequence") or (linear if changes else None)


def _lookup(dataset: Any, keyword: str) -> Lookup | None:
    """The first table of a sequence; None if there is none that can be used."""
    try:
        if not dicom_limits.is_table_sequence(dataset, keyword):
            return None
        item = dataset.get(keyword)[0]
        count, first, _ = (int(value) for value in item.LUTDescriptor)
        entries = _entries(item.LUTData, count or 1 << 16, dataset)
    except Exception:  # no sequence, no items, no table, or a damaged one
        return None
    return Lookup(first, entries) if len(entries) > 1 else None


def _entries(data: Any, count: int, dataset: Any) -> npt.NDArray[Any]:
    """The table's first `count` entries."""
    if not isinstance(data, bytes):
        return np.asarray(data, np.int64)[:count]
    if len(data) < 2 * count:  # a byte each
        return np.frombuffer(data, np.uint8)[:count]
    _, little = dataset.original_encoding
    return np.frombuffer(data, "<u2" if little else ">u2")[:count]
