"""DVC's experiments as one table that fits a screen of 120 columns.

python -m knee.run.experiments

`dvc exp show` has a column for each parameter and metric, and an error where a commit's results are
not in the cache. Here an experiment is one line of what decides, the best first.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

COLUMNS: Final = (  # title, width; 120 with the blanks between them
    ("experiment", 18),
    ("data", 12),
    ("backbone", 11),
    ("cross-validated", 16),
    ("test macro-F1", 16),
    ("best shortcut", 22),
    ("calib.", 6),
    ("made", 12),
)
RANKED: Final = ("cross_validated_macro_f1", "test_macro_f1")
MISSING: Final = "-"
NONE: Final = "There is no experiment with results yet: `dvc exp run` makes one."
MISSED: Final = (
    "A line of dashes has no results in the cache: `dvc pull` brings them, or `dvc exp run` again."
)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of what `dvc.api.exp_show` returns; the best cross-validated ones first."""
    lines = sorted(rows, key=lambda row: -max(_number(row, key) for key in RANKED))
    shown = [" ".join(title.ljust(width) for title, width in COLUMNS).rstrip()]
    for row in lines:
        cells = zip(_cells(row), COLUMNS, strict=True)
        texts = (text[:width].ljust(width) for text, (_, width) in cells)
        shown.append(" ".join(texts).rstrip())
    if any(_number(row, RANKED[1]) < 0 for row in rows):
        shown.append(MISSED)
    return "\n".join(shown)


def _cells(row: Mapping[str, Any]) -> list[str]:
    name = row.get("Experiment") or row.get("rev")
    shortcut = _text(row, "best_shortcut").replace("_", " ")
    value = _figure(row, "best_shortcut_macro_f1")
    return [
        str(name),
        _text(row, "data.name"),
        _text(row, "backbone"),
        _bounded(row, "cross_validated_macro_f1"),
        _bounded(row, "test_macro_f1"),
        f"{value} {shortcut}" if value != MISSING else MISSING,
        _figure(row, "test_calibration_error"),
        _text(row, "Created"),
    ]


def _text(row: Mapping[str, Any], key: str) -> str:
    """A cell as text; DVC writes "!" for what it cannot read."""
    value = row.get(key)
    return MISSING if value in (None, "", "!") else str(value)


def _number(row: Mapping[str, Any], key: str) -> float:
    """A cell as a number, -1 where there is none."""
    value = row.get(key)
    return float(value) if isinstance(value, int | float) and not math.isnan(value) else -1.0


def _figure(row: Mapping[str, Any], key: str) -> str:
    value = _number(row, key)
    return MISSING if value < 0 else f"{value:.2f}"


def _bounded(row: Mapping[str, Any], key: str) -> str:
    """A figure with its interval: 0.74 (0.70-0.77)."""
    ends = [_figure(row, f"{key}_{end}") for end in ("low", "high")]
    interval = "" if MISSING in ends else f" ({ends[0]}-{ends[1]})"
    return f"{_figure(row, key)}{interval}"


def main() -> int:
    """Print the table of the project's experiments."""
    import dvc.api

    rows = dvc.api.exp_show()
    text = table(rows) if any(_number(row, key) >= 0 for row in rows for key in RANKED) else NONE
    sys.stdout.write(f"{text}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
