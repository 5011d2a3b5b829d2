"""Bone masks: which pixels of an image show bone, brought to the canonical square.

A folder of masks has, under the path and stem of an image, a PNG of the image's size: white is
bone. An image without a mask is left out of what needs one.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from PIL import UnidentifiedImageError

from knee.reading import borders, canonical_image, decoded, raster, source_files
from knee.reading.canonical_image import Canonical
from knee.run.errors import UserError
from knee.storage.arrays import Maps, Pixels


class MaskError(UserError):
    """A mask that cannot be read, or is not of its image's size."""


def read_masks(folder: Path, records: pd.DataFrame, canonical: Canonical) -> Maps:
    """Read the share of each canonical pixel that is bone, float32 (rows, side, side), 0-1.

    A row is all NaN where the image has no mask. `canonical` has the settings of ingest.

    Raises:
        MaskError: a mask is damaged, or has not the size of its image.
    """
    side = canonical.side_pixels
    covered = np.full((len(records), side, side), np.nan, np.float32)
    for number, (_, record) in enumerate(records.iterrows()):
        path = folder / PurePosixPath(str(record["source"])).with_suffix(".png")
        if not path.is_file():
            continue
        mask = _read(path, canonical.maximum_megapixels)
        if mask.shape != (record["height"], record["width"]):
            raise MaskError(
                f"{path} has {mask.shape[1]} x {mask.shape[0]} pixels, its image has "
                f"{record['width']} x {record['height']}: give the mask its image's size"
            )
        if canonical.crop_borders:
            sides = ("top", "bottom", "left", "right")
            margins = borders.Borders(*(int(record[f"border_{side}"]) for side in sides))
            mask = borders.crop(mask, margins)
        covered[number] = canonical_image.fit(mask, side, canonical.fit) / np.float32(255)
    return covered


def _read(path: Path, maximum_megapixels: float) -> Pixels:
    """uint8 (height, width), 255 where bone is."""
    try:
        content = source_files.read(source_files.SourceFile(path.name, path, ""))
        gray = raster.decode(content, maximum_megapixels).pixels
    except decoded.UnreadableImage as reason:
        raise MaskError(f"{path} is no mask: {reason}") from None
    except UnidentifiedImageError:
        raise MaskError(f"{path} is no mask: not a PNG image") from None
    return np.where(gray >= 128, 255, 0).astype(np.uint8)
