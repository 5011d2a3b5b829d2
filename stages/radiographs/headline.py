"""The few figures of test.json that stand in DVC's table of metrics, one column each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

BOUNDED: Final = ("accuracy", "macro_f1")  # shown with their intervals
PLAIN: Final = ("quadratic_kappa", "macro_auc", "log_loss", "expected_calibration_error")


def headline(report: Mapping[str, Any]) -> dict[str, Any]:
    """Flat figures of `report`, the content of test.json; None where one is not defined."""
    flat = {"leaky": report["leaky"], "synthetic": report["synthetic"]}
    for name in BOUNDED:
        bounds = report["confidence_interval"][name]
        flat |= {name: report[name], f"{name}_low": bounds["low"], f"{name}_high": bounds["high"]}
    return flat | {name: report[name] for name in PLAIN}
