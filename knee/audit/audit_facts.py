"""Facts about a data set: copies, conflicts, leakage, and how far shortcuts get.

`dvc_metrics` of the facts is metrics/audit.json, `shortcut_details` is metrics/shortcuts.json; the
report for people is in `audit_report`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from tqdm import tqdm

from knee.audit import shortcut_scores
from knee.audit.shortcuts import Shortcut, shortcuts
from knee.records.components import components, equal_pairs
from knee.records.conflicts import conflicts_of
from knee.records.file_names import Patterns, lineage_keys
from knee.records.records_table import class_names, decision_counts, notes, status_counts
from knee.splits import protocols, split_table
from knee.storage.arrays import Integers, PixelRows
from knee.storage.artifacts import ArtifactError

# The published protocol: 80 % train, 10 % val, 10 % test of all files.
PUBLISHED: Final[dict[str, Any]] = {"validation_share": 0.1, "test_share": 0.1, "seed": 42}


def facts(records: pd.DataFrame, split: pd.DataFrame, patterns: Patterns) -> dict[str, Any]:
    """Return counts, relations, leakage, patients and origins of records and a split of them.

    Raises:
        ArtifactError: the split is of other records.
    """
    if split["record"].tolist() != records["record"].tolist():
        raise ArtifactError("the split is not of these records: run the split stage")
    images = records[records["pixel_row"] >= 0]
    several, reviewed = conflicts_of(records), decision_counts(records)
    return {
        "records": len(records),
        **status_counts(records),
        "distinct_files": int(records.loc[records["sha256"] != "", "sha256"].nunique()),
        "distinct_pixels": int(images["pixel_sha256"].nunique()),
        "pictures": int(images["picture"].nunique()),
        "groups": int(images["group"].nunique()),
        "conflicting_pictures": len(several),
        "conflicting_groups": int(images.loc[images["picture"].isin(several), "group"].nunique()),
        "copies": copies(images, patterns),
        "notes": notes(images),
        **({"reviewed": reviewed} if reviewed else {}),
        "leakage": {
            "random": random_leakage(records),
            "in_use": round(split_table.leakage(records, split), 6),
        },
        "patients": split_table.patient_counts(records, split),
        "origins": origins(images),
    }


def copies(images: pd.DataFrame, patterns: Patterns) -> dict[str, int]:
    """Count files beyond the first of their copy group, each once, by the strongest relation.

    The same bytes; else the same pixels; else a name that calls it a copy; else a near copy (found
    by its look). With the number of copy groups they add up to the number of images.
    """
    pixel_hashes = images["pixel_sha256"].tolist()
    pairs = list(equal_pairs(pixel_hashes))
    pairs += equal_pairs(lineage_keys(images["source"].tolist(), patterns))
    named = len(np.unique(components(len(images), pairs)))
    files, distinct = images["sha256"].nunique(), images["pixel_sha256"].nunique()
    return {
        "same_bytes": len(images) - files,
        "same_pixels": files - distinct,
        "same_name": distinct - named,
        "near_copy": named - images["picture"].nunique(),
    }


def random_leakage(records: pd.DataFrame) -> float | None:
    """Return the leakage of the published protocol; None where a class is too small for it."""
    try:
        split = protocols.random_split(records, folds=2, **PUBLISHED)
    except split_table.SplitError:
        return None
    return round(split_table.leakage(records, split), 6)


def origins(images: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Count images by origin and label; the origin "" is unknown. Empty where none is known."""
    if not (images["origin"] != "").any():
        return {}
    table = pd.crosstab(images["origin"], images["label"])
    return {
        str(origin): {str(label): int(count) for label, count in row.items()}
        for origin, row in table.iterrows()
    }


def shortcut_facts(
    records: pd.DataFrame,
    split: pd.DataFrame,
    pixels: PixelRows,
    kept: pd.DataFrame,
    protocol: shortcut_scores.ShortcutProtocol,
    most_pictures: int,
) -> dict[str, Any]:
    """Score each shortcut as a predictor of the label, on `kept`: one used record a copy group.

    More than `most_pictures` are subsampled, by whole groups at random, for the cross-validation;
    so are the test subset's records. `pixels` are uint8 (rows, side, side).

    Returns:
        shortcut_pictures, chance, alarms (names), and shortcuts.<name> with the figures of
        `shortcut_scores.cross_validated`, those of the split's test subset under `test`.
    """
    names = class_names(records)
    chosen = _subsample_groups(kept, most_pictures, protocol.seed)
    subset = records["record"].map(split.set_index("record")["subset"])
    tested = _subsample_groups(records[subset == "test"], most_pictures, protocol.seed)
    is_chosen = records["record"].isin(chosen["record"])
    is_tested = records["record"].isin(tested["record"])
    is_needed = is_chosen | is_tested | (subset == "train")
    needed = records[is_needed].reset_index(drop=True)
    labels, groups = (needed[name].to_numpy(np.int64) for name in ("class_index", "group"))
    labelled = shortcut_scores.Labelled(labels, groups, names)
    inside = np.flatnonzero(is_chosen[is_needed])
    train = np.flatnonzero(subset[is_needed] == "train")
    test = np.flatnonzero(is_tested[is_needed])
    found = {}
    bar = tqdm(shortcuts(needed, pixels).items(), desc="audit", unit="shortcut", disable=None)
    for name, shortcut in bar:
        part = Shortcut(shortcut.features[inside], shortcut.learner)
        found[name] = shortcut_scores.cross_validated(part, labelled.part(inside), protocol)
        found[name]["test"] = shortcut_scores.held_out(shortcut, labelled, protocol, (train, test))
    return {
        "shortcut_pictures": len(chosen),
        "chance": round(1 / max(1, len(names)), 6),
        "alarms": [name for name, figures in found.items() if figures["alarm"]],
        "shortcuts": found,
    }


def dvc_metrics(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what fits DVC's table: `facts` without lists, intervals and test figures."""
    figures = {
        name: {key: one[key] for key in ("accuracy", "balanced_accuracy", "macro_f1", "p_value")}
        for name, one in facts["shortcuts"].items()
    }
    shown = {
        key: value for key, value in facts.items() if key not in ("alarms", "notes", "origins")
    }
    return shown | {"shortcuts": figures}


def shortcut_details(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return all figures of the shortcuts, with intervals and test figures."""
    basis = ("synthetic", "split_protocol", "shortcut_pictures", "chance")
    return {key: facts[key] for key in (*basis, "alarms", "shortcuts", "origins")}


def _subsample_groups(kept: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """Whole groups at random, as many as have at most `most` records together."""
    if len(kept) <= most:
        return kept
    sizes = kept["group"].value_counts(sort=False)
    order: Integers = np.random.default_rng(seed).permutation(len(sizes))
    shuffled = sizes.iloc[order]
    return kept[kept["group"].isin(shuffled.index[shuffled.cumsum() <= most])]
