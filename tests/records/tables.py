"""Records tables made for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from knee.records.records_table import COLUMNS

NO_SPLIT = Path(__file__).parents[2] / "conf" / "no_split.csv"
SPLIT_FLAGS = (  # of the stage split, beside its records; paths are in the test's folder
    f"keep={NO_SPLIT}",
    "split-out=split.csv",
    "images-out=split_images.csv",
    "subsets-out=subsets.csv",
    "metrics-out=split.json",
)


def records(
    labels: Sequence[int],
    groups: Sequence[int],
    pictures: Sequence[int] | None = None,
    statuses: Sequence[str] | None = None,
) -> pd.DataFrame:
    """One row an entry of `labels`; each its own picture, and used, unless said otherwise."""
    count = len(labels)
    statuses = statuses or ["used"] * count
    frame = pd.DataFrame(
        {
            "record": range(count),
            "source": [f"class{label}/{n:04d}.png" for n, label in enumerate(labels)],
            "label": [f"class{label}" for label in labels],
            "part": "",
            "class_index": labels,
            "status": statuses,
            "reason": ["" if status == "used" else "because" for status in statuses],
            "note": "",
            "pixel_row": [-1 if status == "rejected" else n for n, status in enumerate(statuses)],
            "sha256": [f"{n:064x}" for n in range(count)],
            "pixel_sha256": [f"{n:064x}" for n in range(count)],
            "perceptual_hash": [f"{n:064x}" for n in range(count)],
            "width": 10,
            "height": 10,
            "mode": "L",
            "format": "PNG",
            "bytes": 100,
            "bits": 8,
            "compression": "png",
            "pixel_spacing_mm": float("nan"),
            **dict.fromkeys(("border_top", "border_bottom", "border_left", "border_right"), 0),
            **dict.fromkeys(("origin", "patient", "side", "sex"), ""),
            **dict.fromkeys(("age_years", "t_score"), float("nan")),
            "picture": pictures if pictures is not None else list(range(count)),
            "group": groups,
        }
    )
    return frame.astype(COLUMNS)
