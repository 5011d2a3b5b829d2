"""Copy groups under several labels, and the policy that sets their records aside."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

import pandas as pd

from knee.records.records_table import EXCLUDED, QUARANTINED

Policy = Literal["quarantine", "majority", "keep"]


def conflicting_labels(groups: Sequence[int], labels: Sequence[str]) -> dict[int, list[str]]:
    """Return the copy groups with two or more labels, and these labels, sorted by bytes."""
    names_of: dict[int, set[str]] = defaultdict(set)
    for group, label in zip(groups, labels, strict=True):
        names_of[group].add(label)
    return {
        group: sorted(names, key=os.fsencode) for group, names in names_of.items() if len(names) > 1
    }


def conflicts_of(records: pd.DataFrame) -> dict[int, list[str]]:
    """Return the copy groups under several labels, without files that a reviewer excluded."""
    images = records[records["pixel_row"] >= 0]
    if "decision" in images:
        images = images[images["decision"] != EXCLUDED]
    return conflicting_labels(images["picture"].tolist(), images["label"].tolist())


def resolve(frame: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """Return `frame` with the rows quarantined that contradict others of their copy group.

    Args:
        frame: the records table with copy groups.
        policy: quarantine: every row of such a group. majority: the rows under another label
            than most of the group's rows; every row where no label has most. keep: none.
    """
    result = frame.copy()
    if policy == "keep":
        return result
    conflicts = conflicts_of(frame)
    usable = frame[(frame["pixel_row"] >= 0) & (frame["status"] != QUARANTINED)]
    aside = usable.loc[usable["picture"].isin(conflicts), ["picture", "label"]]
    reasons = {
        group: f"the same picture stands under {', '.join(labels)}"
        for group, labels in conflicts.items()
    }
    if policy == "majority":
        labels_of: dict[int, list[str]] = defaultdict(list)
        for group, label in zip(aside["picture"].tolist(), aside["label"].tolist(), strict=True):
            labels_of[group].append(label)
        most = {group: majority(labels) for group, labels in labels_of.items()}
        told = {group: label for group, label in most.items() if label is not None}
        reasons |= {
            group: f"{reasons[group]}, most often under {label}" for group, label in told.items()
        }
        aside = aside[aside["label"] != aside["picture"].map(told)]
    # All at once: an assignment takes as long as the whole table is.
    result.loc[aside.index, "status"] = QUARANTINED
    result.loc[aside.index, "reason"] = aside["picture"].map(reasons)
    return result


def majority(labels: Iterable[str]) -> str | None:
    """Return the most frequent label; None if several share the first place."""
    first, *others = Counter(labels).most_common(2)
    return None if others and others[0][1] == first[1] else first[0]
