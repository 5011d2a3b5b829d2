"""What a split holds, in figures: metrics/split.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from knee.splits import protocols


def summary(
    records: pd.DataFrame, split: pd.DataFrame, protocol: str, *, synthetic: bool
) -> dict[str, Any]:
    """Counts and leakage of a split, for metrics/split.json."""
    joined = records[["record", "label"]].merge(split, on="record")
    counts: dict[str, Mapping[str, int]] = {}
    for name in (*protocols.SUBSETS, protocols.UNUSED):
        part = joined[joined["subset"] == name]
        counts[name] = {
            "records": len(part),
            **({"groups": int(part["group"].nunique())} if name != protocols.UNUSED else {}),
            **{str(k): int(v) for k, v in part["label"].value_counts().sort_index().items() if k},
        }
    return {
        "protocol": protocol,
        "leaky": protocol == "random",
        "leakage": round(protocols.leakage(records, split), 6),
        "synthetic": synthetic,
        "subsets": counts,
    }
