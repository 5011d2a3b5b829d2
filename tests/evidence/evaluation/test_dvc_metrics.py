"""The short table of figures says what test.json says."""

from __future__ import annotations

from typing import Any

from knee.evidence.evaluation.evaluation_report import dvc_metrics
from knee.statistics.scores import HEADLINE


def report(**changes: Any) -> dict[str, Any]:
    figures = {name: 0.1 * number for number, name in enumerate(HEADLINE)}
    bounds = {name: {"low": value - 0.05, "high": value + 0.05} for name, value in figures.items()}
    return {"leaky": False, "synthetic": True, **figures, "confidence_interval": bounds} | changes


def test_figures_are_those_of_the_report_and_stand_beside_their_intervals() -> None:
    given = report()
    shown = dvc_metrics(given)
    assert {name: shown[name] for name in HEADLINE if name in shown} == {
        name: given[name] for name in HEADLINE if name in shown
    }
    for name in ("accuracy", "macro_f1"):
        assert shown[f"{name}_low"] < shown[name] < shown[f"{name}_high"]


def test_a_leaky_or_synthetic_result_says_so_in_the_table() -> None:
    assert dvc_metrics(report(leaky=True))["leaky"] is True
    assert dvc_metrics(report())["synthetic"] is True


def test_the_table_stays_narrow() -> None:
    shown = dvc_metrics(report())
    assert len(shown) <= 12
    assert not any(isinstance(value, dict | list) for value in shown.values())
