"""Which records show the same picture or the same patient, and which of them contradict each other.

Works on the records table; how two files are compared is in `duplicates`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from stages.radiographs import duplicates
from stages.radiographs.examination import Prints
from stages.radiographs.records import QUARANTINED


@dataclasses.dataclass(frozen=True)
class SamePicture:
    """When two files show the same picture.

    Attributes:
        radius_bits: largest distance of the perceptual hashes, of 256.
        correlation: smallest correlation of the reduced pixels.
        lineage: expressions cut from a stem to find its source's.
    """

    radius_bits: int
    correlation: float
    lineage: Sequence[re.Pattern[str]]


def add_pictures(frame: pd.DataFrame, prints: Sequence[Prints], same: SamePicture) -> pd.DataFrame:
    """`frame` with picture and group numbers, each in the order of their first records.

    `prints` are those of the rows with pixels, in order of pixel_row.
    """
    usable = frame[frame["pixel_row"] >= 0]
    first = ~usable["pixel_sha256"].duplicated().to_numpy()  # identical pixels: compare one
    representatives: list[int] = np.flatnonzero(first).tolist()
    copies = duplicates.copy_pairs(
        np.stack([prints[index].upright for index in representatives]),
        np.stack([prints[index].mirrored for index in representatives]),
        np.stack([prints[index].reduced for index in representatives]),
        same.radius_bits,
        same.correlation,
    )
    pairs = [(representatives[one], representatives[two]) for one, two in copies]
    pairs += duplicates.equal_pairs(usable["pixel_sha256"].tolist())
    pairs += duplicates.equal_pairs(
        duplicates.lineage_keys(usable["source"].tolist(), same.lineage)
    )
    result = frame.copy()
    result.loc[usable.index, "picture"] = duplicates.components(len(usable), pairs)
    pairs += duplicates.equal_pairs(usable["patient"].tolist())
    result.loc[usable.index, "group"] = duplicates.components(len(usable), pairs)
    return result


def quarantine(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with every row quarantined whose picture stands under two or more labels."""
    usable = frame[frame["pixel_row"] >= 0]
    conflicts = duplicates.conflicting_labels(usable["picture"].tolist(), usable["label"].tolist())
    result = frame.copy()
    for picture, labels in conflicts.items():
        rows = result["picture"] == picture
        result.loc[rows, "status"] = QUARANTINED
        result.loc[rows, "reason"] = f"the same picture stands under {', '.join(labels)}"
    return result
