"""Copy groups and patient groups of the records: the columns `picture` and `group`.

How two images are compared is in `copy_groups`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from knee.copies import copy_groups
from knee.copies.copy_groups import Fingerprints
from knee.records import file_names
from knee.records.components import by_first, components, equal_pairs
from knee.storage.arrays import Integers


@dataclasses.dataclass(frozen=True)
class CopyRules:
    """Rules by which two files are copies of one radiograph.

    Attributes:
        search: for copies by their pixels.
        lineage: marks of copies in file names; such names join without a look at the pixels.
    """

    search: copy_groups.CopySearch
    lineage: file_names.Patterns


def add_groups(
    frame: pd.DataFrame, fingerprints: Sequence[Fingerprints], same: CopyRules
) -> pd.DataFrame:
    """Return `frame` with copy groups and groups, each numbered in the order of first records.

    Identical pixels and named copies are one family at once; one image of each family is compared
    with the others by its pixels. A group joins the copy groups of one patient.

    Args:
        frame: the records table.
        fingerprints: of the rows with pixels, in order of pixel_row.
        same: when two files are copies.
    """
    usable = frame[frame["pixel_row"] >= 0]
    sources = usable["source"].tolist()
    pairs = [*equal_pairs(usable["pixel_sha256"].tolist())]
    pairs += equal_pairs(file_names.lineage_keys(sources, same.lineage))
    families = components(len(usable), pairs)
    chosen = _representatives(sources, families, same.lineage)
    copies = copy_groups.copy_groups([fingerprints[index] for index in chosen], same.search)
    pictures = by_first(copies[families])
    result = frame.copy()
    result.loc[usable.index, "picture"] = pictures
    patients = equal_pairs(usable["patient"].tolist())
    known = equal_pairs([str(picture) for picture in pictures])
    result.loc[usable.index, "group"] = components(len(usable), [*known, *patients])
    return result


def _representatives(
    sources: Sequence[str], families: Integers, patterns: file_names.Patterns
) -> list[int]:
    """The first member of each family whose name is not a copy's, else its first member."""
    stems = [PurePosixPath(source).stem for source in sources]
    derived = np.array([file_names.source_stem(stem, patterns) != stem for stem in stems])
    order = np.lexsort((np.arange(len(sources)), derived, families))
    return [int(index) for index in order[np.unique(families[order], return_index=True)[1]]]
