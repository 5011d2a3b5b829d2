"""How near the subsets' shares stay to the wanted ones while images are added to a kept split.

python -m benchmarks.evidence.kept_shares

In each trial a number of images of three classes is split and kept, further ones are placed by
their hash. 0 kept: all by their hash, as a split without a table would have to be. Printed are the
largest error of a subset's share, of all images and of one class: median, 90 % and largest of the
trials, and in how many of them a class is missing in a subset.
"""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import pandas as pd

from knee.splits import kept_split, protocols

TRIALS = 200
SHARES = {"train": 0.65, "val": 0.15, "test": 0.2}
CASES = ((0, 120), (0, 395), (120, 132), (120, 264), (120, 600))  # images kept, images in all


def errors(kept: int, count: int, trial: int) -> tuple[float, float, bool]:
    """Largest errors of a share, of all images and of one class; whether one has no image."""
    numbers = np.arange(count)
    images = pd.DataFrame({"group": numbers, "class_index": numbers % 3, "patient": ""})
    images["label"] = images["class_index"].astype(str)
    images["pixel_sha256"] = [hashlib.sha256(f"{trial} {n}".encode()).hexdigest() for n in numbers]
    first = protocols.deal_out(images[:kept], SHARES, trial) if kept else {}
    table = {images["pixel_sha256"][group]: subset for group, subset in first.items()}
    placed = images["group"].map(kept_split.place_groups(images, table, SHARES, trial))
    found = pd.crosstab(images["class_index"], placed).reindex(columns=list(SHARES), fill_value=0)
    counts, wanted = found.to_numpy(float), np.array([*SHARES.values()])
    of_all = np.abs(counts.sum(axis=0) / count - wanted).max()
    of_class = np.abs(counts / counts.sum(axis=1, keepdims=True) - wanted).max()
    return float(of_all), float(of_class), bool((counts == 0).any())


def main() -> int:
    """Print a row a case."""
    sys.stdout.write(
        "kept  images  error of a share        of one class's          class missing\n"
    )
    for kept, count in CASES:
        trials = np.array([errors(kept, count, trial) for trial in range(TRIALS)])
        ends = [np.quantile(trials[:, column], (0.5, 0.9, 1)) for column in (0, 1)]
        shown = "  ".join("{:6.3f} {:6.3f} {:6.3f}  ".format(*values) for values in ends)
        sys.stdout.write(f"{kept:4}  {count:6}  {shown}  {int(trials[:, 2].sum()):3}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
