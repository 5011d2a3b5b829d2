"""Models of several runs on the same images, in pairs.

python -m benchmarks.evidence.models_in_pairs NAME=predictions.csv NAME=predictions.csv ...

predictions.csv are those of evaluate (metrics/BACKBONE/), of which the test images count. Of
members.csv, an ensemble's out-of-fold predictions, all images count. Differences of macro-F1 have
p-values with Holm's correction; those of the log loss have an interval.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from knee.evidence.evaluation import predictions
from knee.statistics import paired_comparison
from knee.statistics.bootstrap import Bootstrap
from knee.statistics.paired_comparison import NamedPredictions
from knee.storage import artifacts

BOOTSTRAP = Bootstrap(draws=10_000, level=0.95, seed=42)


def main(arguments: Sequence[str]) -> int:
    """Print a line a pair."""
    tables = {name: _judged(Path(file)) for name, file in (one.split("=", 1) for one in arguments)}
    first = next(iter(tables.values()))
    if any(not table["record"].equals(first["record"]) for table in tables.values()):
        raise SystemExit("these predictions are not of the same images")
    classes = predictions.predicted_classes(first)
    truth, groups = (first[name].to_numpy(np.int64) for name in ("class_index", "group"))
    made = {name: predictions.probabilities_of(one, classes) for name, one in tables.items()}
    compared = [NamedPredictions(name, "model", (one,)) for name, one in made.items()]
    found = paired_comparison.compare(truth, groups, compared, "macro_f1", BOOTSTRAP)
    for row in found["differences"]:
        bounds = f"({row['low']:+.3f} to {row['high']:+.3f}), p {row['p_corrected']:.3f}"
        print(f"{row['model']} - {row['other']}: macro-F1 {row['difference']:+.3f} {bounds}")
    losses = {name: -np.log(one[np.arange(len(truth)), truth]) for name, one in made.items()}
    for one, other in combinations(losses, 2):
        gap = losses[one] - losses[other]
        ends = BOOTSTRAP.mean_interval(gap, groups)
        bounds = f"({ends['low']:+.3f} to {ends['high']:+.3f})"
        print(f"{one} - {other}: log loss {gap.mean():+.3f} {bounds}")
    return 0


def _judged(path: Path) -> pd.DataFrame:
    table = predictions.read_predictions(artifacts.read_bytes(path))
    if "subset" in table:
        table = table[table["subset"] == "test"]
    return table.sort_values("record").reset_index(drop=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
