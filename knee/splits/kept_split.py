"""A split that stays when images are added: old groups keep their subset, new ones get a fixed one.

A subsets table has a row for each image of a group that is in a subset: the digest of its pixels,
its group, its subset. A later split keeps those subsets. It also tells which images a registered
model has seen, and names no file and no person.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from knee.splits.split_table import SUBSETS, SplitError
from knee.storage.artifacts import NO_TABLE, read_bytes

COLUMNS: Final = {"pixel_sha256": "str", "group": "int64", "subset": "str"}
NO_SPLIT: Final = "no_split.csv"  # of conf: a header and no row, by which nothing is kept
PLACES: Final = {name: place for place, name in enumerate(SUBSETS)}


def subsets_table(records: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """Return the subsets table of a split of `records`, by digest.

    A record that is unused itself, such as a copy, has the subset of its group.
    """
    own = split["subset"].map(PLACES)
    place = own.fillna(own.groupby(split["group"]).transform("max"))
    frame = split[["record", "group"]].assign(subset=place.map(dict(enumerate(SUBSETS))))
    frame = frame.merge(records.loc[records["pixel_row"] >= 0, ["record", "pixel_sha256"]])
    rows = frame.dropna(subset="subset")[list(COLUMNS)].drop_duplicates()
    return rows.sort_values(list(COLUMNS)).reset_index(drop=True)


def read_subsets_table(content: bytes, name: str) -> pd.DataFrame:
    """Return the subsets table `content`; `name` is the file's, for messages.

    Raises:
        SplitError: it is none.
    """
    remedy = "take the metrics/subsets.csv of an earlier run"
    try:
        frame = pd.read_csv(io.BytesIO(content), dtype=COLUMNS, keep_default_na=False)
    except NO_TABLE as error:
        raise SplitError(f"{name} is no subsets table ({error}): {remedy}") from error
    if list(frame.columns) != list(COLUMNS):
        found = ", ".join(map(str, frame.columns))
        raise SplitError(f"{name} is no subsets table, its columns are {found}: {remedy}")
    if unknown := sorted(set(frame["subset"]) - {*SUBSETS}):
        raise SplitError(f"{name} is no subsets table: it has a subset {unknown[0]!r}")
    return frame


def read_kept(path: Path, records: pd.DataFrame) -> dict[str, str]:
    """Return the subset that each image has by the subsets table at `path`; {} of conf's empty one.

    Raises:
        SplitError: it is no subsets table, has an image in two subsets, or none of `records`.
        ArtifactError: it cannot be read.
    """
    table = read_subsets_table(read_bytes(path), str(path))[["pixel_sha256", "subset"]]
    table = table.drop_duplicates()
    if table.empty and path.name == NO_SPLIT:
        return {}
    if table["pixel_sha256"].duplicated().any():
        raise SplitError(
            f"split.keep: {path} has one image in two subsets: it is of a random split, or edited"
        )
    if not table["pixel_sha256"].isin(records["pixel_sha256"]).any():
        raise SplitError(
            f"split.keep: no image of {path} is among the records: it is of another data set; "
            f"take this one's, or conf/{NO_SPLIT}"
        )
    return dict(zip(table["pixel_sha256"], table["subset"], strict=True))


def place_groups(
    records: pd.DataFrame, kept: Mapping[str, str], shares: Mapping[str, float], seed: int
) -> dict[int, str]:
    """Return the subset of each group: the one that `kept` has for its images, else by its hash.

    Of several kept subsets, where a new image joins groups, the last of train, val, test counts:
    no image that a model was tested on is trained on. A hash depends on nothing except the
    group's own images, so that later images move no group; shares are met on average.
    """
    place = records["pixel_sha256"].map(kept).map(PLACES).groupby(records["group"]).max()
    names = place.map(dict(enumerate(SUBSETS)))
    new = place.index[place.isna()]
    positions = _identities(records[records["group"].isin(new)]).map(lambda one: _hash(one, seed))
    ends = np.cumsum([shares[name] for name in reversed(SUBSETS)])  # test first
    found = np.searchsorted(ends[:-1], positions.to_numpy(), side="right")
    names[positions.index] = np.array(SUBSETS[::-1])[found]
    return dict(names)


def changes(records: pd.DataFrame, split: pd.DataFrame, kept: Mapping[str, str]) -> dict[str, Any]:
    """Count what a split did with the subsets `kept`, for metrics/split.json.

    moved_images are those whose group was joined with a group of a later subset: an earlier model
    may have been trained on images that are in test now.
    """
    now = subsets_table(records, split)
    now["before"] = now["pixel_sha256"].map(kept)
    groups = now.groupby("group")["before"].nunique()
    pairs = [(old, new) for old in SUBSETS for new in SUBSETS if PLACES[old] < PLACES[new]]
    return {
        "kept_groups": int((groups > 0).sum()),
        "new_groups": int((groups == 0).sum()),
        "joined_groups": int((groups > 1).sum()),
        "moved_images": {
            f"{old}_to_{new}": int(((now["before"] == old) & (now["subset"] == new)).sum())
            for old, new in pairs
        },
        "missing_images": len(set(kept) - set(now["pixel_sha256"])),
    }


def _identities(records: pd.DataFrame) -> pd.Series[str]:
    """What each group is known by: its patient's pseudonym, else the digest of an image.

    Of several the first in alphabetical order.
    """
    patients = records.loc[records["patient"] != "", ["group", "patient"]]
    images = records.groupby("group")["pixel_sha256"].min()
    return patients.groupby("group")["patient"].min().reindex(images.index).fillna(images)


def _hash(identity: str, seed: int) -> float:
    """A position in [0, 1) that follows from `identity` and the key `seed`."""
    key = seed.to_bytes(8, "big")
    digest = hashlib.blake2b(identity.encode("utf-8"), digest_size=8, key=key).digest()
    return int.from_bytes(digest, "big") / 2**64
