"""The outlines of distributions in the report of the audit.

An outline is an SVG path in a box of 100 x 100 that is stretched to its place; all text stands
beside it in HTML, so that it can be read at any width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.storage.arrays import Floats, PixelRows

BINS: Final = 40
TICKS: Final = 5
OUTSIDE: Final = (0.5, 99.5)  # percentiles: what lies beyond is drawn into the outermost bins


@dataclass(frozen=True)
class Outline:
    """The distribution of one class."""

    label: str
    class_index: int
    path: str  # d of an SVG path
    median: str
    median_percent: float  # place on the axis


@dataclass(frozen=True)
class Distribution:
    """The distributions of one quantity, one a class."""

    title: str
    unit: str
    ticks: tuple[str, ...]
    outlines: tuple[Outline, ...]
    constant: str  # the only value there is, else ""


def distributions(kept: pd.DataFrame, pixels: PixelRows) -> list[Distribution]:
    """Return brightness, contrast, size and shape by class, of one record of each copy group.

    `pixels`, uint8 (rows, side, side), are read at `kept.pixel_row`.
    """
    brightness, contrast = np.empty((2, len(kept)))
    for place, row in enumerate(kept["pixel_row"]):
        image = np.array(pixels[row])
        brightness[place], contrast[place] = image.mean(), image.std()
    area = (kept["width"] * kept["height"]).clip(lower=1)
    quantities: list[tuple[str, str, Any]] = [
        ("Mean brightness", "gray level, 0-255", brightness),
        ("Contrast", "standard deviation of the gray levels", contrast),
        ("Width", "px", kept["width"]),
        ("Height", "px", kept["height"]),
        ("Width over height", "", kept["width"] / kept["height"].clip(lower=1)),
        ("File size", "bytes a pixel", kept["bytes"] / area),
    ]
    labels = kept["label"].tolist()
    indices = kept["class_index"].to_numpy(np.int64)
    return [
        distribution(title, unit, np.asarray(values, np.float64), indices, labels)
        for title, unit, values in quantities
        if len(kept)
    ]


def distribution(
    title: str, unit: str, values: Floats, indices: npt.NDArray[np.int64], labels: Sequence[str]
) -> Distribution:
    """Return the outlines of `values` (records,), one a class, on one axis and of one area."""
    low, high = (float(end) for end in np.percentile(values, OUTSIDE))
    if values.min() == values.max():
        return Distribution(title, unit, (), (), _number(low))
    if low == high:
        low, high = float(values.min()), float(values.max())
    label_of = dict(zip(indices.tolist(), labels, strict=True))
    parts = {int(index): values[indices == index] for index in np.unique(indices)}
    shares = {
        index: np.histogram(own.clip(low, high), bins=BINS, range=(low, high))[0] / len(own)
        for index, own in parts.items()
    }
    tallest = max(heights.max() for heights in shares.values())
    outlines = []
    for index, own in parts.items():
        median = float(np.median(own))
        place = round(float(100 * ((np.clip(median, low, high) - low) / (high - low))), 2)
        path = _steps(shares[index] / tallest)
        outlines.append(Outline(label_of[index], index, path, _number(median), place))
    ticks = tuple(_number(float(value)) for value in np.linspace(low, high, TICKS))
    return Distribution(title, unit, ticks, tuple(outlines), "")


def _steps(heights: Floats) -> str:
    """Return a histogram's outline as an SVG path; heights 0-1."""
    width = 100 / len(heights)
    parts = ["M0 100"]
    for number, height in enumerate(heights):
        top = round(100 - 96 * float(height), 1)
        parts.append(f"V{top:g}H{round((number + 1) * width, 2):g}")
    return "".join([*parts, "V100Z"])


def _number(value: float) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:,.0f}"
