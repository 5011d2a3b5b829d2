"""Decoded DICOM cells to the values that are stored in them, and which of these are padding.

A cell has `BitsAllocated` bits, of which the `BitsStored` up to `HighBit` are the value. The others
may be an overlay, the value's sign continued, or anything else (PS3.5 8.1.1).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from knee.reading import dicom_header


def stored_values(
    dataset: Any, cells: npt.NDArray[Any], precision: int | None
) -> tuple[npt.NDArray[Any], list[str]]:
    """Return the stored values in the decoded `cells`, and what is doubtful about them.

    A cell has `BitsAllocated` bits, of which those up to `HighBit` are the value, and others may be
    an overlay. Compressed pixels may be values without the rest of the cell: those of a codestream
    of fewer bits, its `precision`, than `HighBit` tells of.
    """
    if not np.issubdtype(cells.dtype, np.integer):
        return cells, []
    kind = np.dtype(f"{'i' if dicom_header.is_signed(dataset) else 'u'}{cells.dtype.itemsize}")
    whole, stored = 8 * kind.itemsize, dicom_header.bits(dataset)
    cells = cells.astype(kind, copy=False)
    high = dicom_header.number(dataset, "HighBit")
    high = int(high) if stored <= high < whole else stored - 1
    if precision is not None and precision <= high:
        high = stored - 1
    if _fit(cells, stored):
        if high < stored:
            return cells, []
        if (cells & ((1 << (high + 1 - stored)) - 1)).any():  # values, not what is below them
            return cells, [f"High Bit: {high} of {stored} bits, shown as {stored - 1}"]
    values = np.left_shift(cells, whole - 1 - high)
    np.right_shift(values, whole - stored, out=values)
    overlaid = _more_than_a_sign(cells, values, high, stored)
    return values, ["bits above High Bit: left out, as an overlay"] if overlaid else []


def padding(
    dataset: Any, stored: npt.NDArray[Any], cells: npt.NDArray[Any]
) -> npt.NDArray[np.bool_]:
    """Return which of the `stored` values stand for no part of the image, bool of their shape.

    The padding value may have the other sign, and be one of the `cells` as a whole.
    """
    value = dicom_header.number(dataset, "PixelPaddingValue")
    limit = dicom_header.number(dataset, "PixelPaddingRangeLimit")
    if math.isnan(value):
        return np.zeros(stored.shape, np.bool_)
    if np.issubdtype(stored.dtype, np.integer):
        value, limit = _of_type(value, stored.dtype), _of_type(limit, stored.dtype)
    low, high = (value, value) if math.isnan(limit) else sorted((value, limit))
    found = (stored >= low) & (stored <= high)
    if cells is not stored:
        cells = cells.astype(stored.dtype, copy=False)
        found |= (cells >= low) & (cells <= high)
    return np.asarray(found)


def _fit(cells: npt.NDArray[Any], stored: int) -> bool:
    """Whether all cells are numbers of `stored` bits."""
    signed = np.issubdtype(cells.dtype, np.signedinteger)
    least, most = (-(1 << (stored - 1)), 1 << (stored - 1)) if signed else (0, 1 << stored)
    return bool(cells.min() >= least and cells.max() < most)


def _more_than_a_sign(
    cells: npt.NDArray[Any], values: npt.NDArray[Any], high: int, stored: int
) -> bool:
    """Whether `cells` have bits above `high` that do not just continue the sign."""
    if high + 1 == 8 * cells.dtype.itemsize:
        return False
    rest = np.right_shift(cells, high + 1 - stored) if high >= stored else cells
    if np.array_equal(rest, values):
        return False
    above = cells.view(f"u{cells.dtype.itemsize}")[rest != values] >> (high + 1)
    return bool(above.any())


def _of_type(value: float, kind: np.dtype[Any]) -> float:
    """The value as the type has it, modulo its range; NaN stays."""
    return value if math.isnan(value) else float(np.int64(value).astype(kind))
