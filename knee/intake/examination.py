"""One source file -> its columns of the records table, its canonical pixels, its prints."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np

from knee.copies import copy_check, hash_search
from knee.copies.copy_groups import Fingerprints
from knee.intake import patients
from knee.reading import borders, canonical_image, decoded, image_formats, source_files
from knee.reading.decoded import Decoded
from knee.records.records_table import REJECTED, USED
from knee.storage.arrays import Pixels


@dataclasses.dataclass(frozen=True)
class Examined:
    """One file: its columns of the records table and, if it is an image, its pixels and prints."""

    columns: dict[str, Any]
    canonical: Pixels | None = None
    prints: Fingerprints | None = None


def examine(
    source: source_files.SourceFile, canonical: canonical_image.Canonical, key: bytes
) -> Examined:
    """Read one file once; whatever is wrong with it becomes its reason.

    The patient that a DICOM header tells is in the columns as hashed with `key`. pixel_sha256 is of
    the whole image; canonical pixels and prints are without its margins if these are cut off.
    """
    columns = _empty_columns(source)
    try:
        content = source_files.read(source)
        columns |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        image = image_formats.decode(content, canonical.maximum_megapixels)
    except decoded.UnreadableImage as reason:
        return Examined({**columns, "status": REJECTED, "reason": str(reason)})
    margins = borders.measure(image.pixels)
    picture = borders.crop(image.pixels, margins) if canonical.crop_borders else image.pixels
    upright, mirrored = hash_search.perceptual_hashes(picture)
    side = copy_check.REDUCED_SIDE_PIXELS
    columns |= {
        "pixel_sha256": _pixel_sha256(image.pixels),
        "perceptual_hash": upright.tobytes().hex(),
        **_told(image, key),
        **{f"border_{name}": width for name, width in dataclasses.asdict(margins).items()},
    }
    return Examined(
        columns,
        canonical_image.fit(picture, canonical.side_pixels, canonical.fit),
        Fingerprints(upright, mirrored, canonical_image.resize(picture, side, side)),
    )


def _told(image: Decoded, key: bytes) -> dict[str, Any]:
    """What the file itself says; the patient's number ends here."""
    height, width = image.pixels.shape
    same = ("mode", "format", "bits", "compression", "pixel_spacing_mm")
    kept = ("origin", "side", "sex", "age_years")
    return {
        "width": width,
        "height": height,
        **{name: getattr(image, name) for name in (*same, *kept)},
        "patient": patients.hashed(image.patient, key) if image.patient else "",
    }


def _pixel_sha256(image: Pixels) -> str:
    """Of the shape as text and the gray values, row by row."""
    digest = hashlib.sha256(f"{image.shape[0]}x{image.shape[1]}:".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _empty_columns(source: source_files.SourceFile) -> dict[str, Any]:
    file = ("reason", "sha256", "pixel_sha256", "perceptual_hash", "mode", "format", "compression")
    person = ("origin", "patient", "side", "sex")
    margins = ("border_top", "border_bottom", "border_left", "border_right")
    numbers = ("width", "height", "bytes", "bits", *margins)
    return {
        "source": source.name,
        "label": source.label,
        "part": source.part,
        "status": USED,
        **dict.fromkeys((*file, *person), ""),
        **dict.fromkeys(numbers, 0),
        **dict.fromkeys(("pixel_spacing_mm", "age_years"), np.nan),
    }
