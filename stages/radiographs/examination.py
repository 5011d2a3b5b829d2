"""One source file -> its columns of the records table, its canonical pixels, its prints."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any, Literal

import numpy as np

from stages.radiographs import duplicates, files, pixels
from stages.radiographs.records import REJECTED, USED


@dataclasses.dataclass(frozen=True)
class Canonical:
    """How an image becomes its canonical pixels.

    Attributes:
        side_pixels: of the square.
        fit: letterbox, squash or crop.
        maximum_megapixels: larger images are rejected unread.
    """

    side_pixels: int
    fit: Literal["letterbox", "squash", "crop"]
    maximum_megapixels: float


@dataclasses.dataclass(frozen=True)
class Prints:
    """What copies are recognised by: two hashes, uint8 (32,), and uint8 (48, 48)."""

    upright: pixels.Pixels
    mirrored: pixels.Pixels
    reduced: pixels.Pixels


@dataclasses.dataclass(frozen=True)
class Examined:
    """One file: its columns of the records table and, if it is an image, its pixels and prints."""

    columns: dict[str, Any]
    canonical: pixels.Pixels | None = None
    prints: Prints | None = None


def examine(source: files.Source, canonical: Canonical) -> Examined:
    """Read one file once; whatever is wrong with it becomes its reason."""
    columns = _empty_columns(source)
    try:
        content = files.read(source)
        columns |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        image = files.decode(content, canonical.maximum_megapixels)
    except files.UnreadableImage as reason:
        return Examined({**columns, "status": REJECTED, "reason": str(reason)})
    height, width = image.pixels.shape
    upright, mirrored = duplicates.perceptual_hashes(image.pixels)
    side = duplicates.COMPARED_SIDE_PIXELS
    columns |= {
        "pixel_sha256": _pixel_sha256(image.pixels),
        "perceptual_hash": upright.tobytes().hex(),
        "width": width,
        "height": height,
        "mode": image.mode,
        "format": image.format,
    }
    return Examined(
        columns,
        pixels.fit(image.pixels, canonical.side_pixels, canonical.fit),
        Prints(upright, mirrored, pixels.resize(image.pixels, side, side)),
    )


def _pixel_sha256(image: pixels.Pixels) -> str:
    """Of the shape as text and the gray values, row by row."""
    digest = hashlib.sha256(f"{image.shape[0]}x{image.shape[1]}:".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _empty_columns(source: files.Source) -> dict[str, Any]:
    text = ("reason", "sha256", "pixel_sha256", "perceptual_hash", "mode", "format", "compression")
    borders = ("border_top", "border_bottom", "border_left", "border_right")
    numbers = ("width", "height", "bytes", "bits", *borders)
    return {
        "source": source.name,
        "label": source.label,
        "status": USED,
        **dict.fromkeys(text, ""),
        **dict.fromkeys(numbers, 0),
        "pixel_spacing_mm": np.nan,
    }
