"""What keeps a model from being champion."""

from __future__ import annotations

from typing import Any

import pytest

from knee.evidence.evaluation.json_contents import EvaluationReport
from knee.promotion import gates


def compared(better: dict[str, float], evidence: str = "test") -> Any:
    """comparison.json of one model."""
    kinds = {name: "probe" if name.startswith("linear") else "shortcut" for name in better}
    part = {
        "figures": {"net": {"kind": "model"}, **{n: {"kind": k} for n, k in kinds.items()}},
        "differences": [
            {"model": "net", "other": name, "probability_better": value}
            for name, value in better.items()
        ],
    }
    return {"evidence": {"cross_validation": {"reason": "x"}, evidence: {"overall": part}}}


def test_a_model_has_to_beat_every_shortcut() -> None:
    assert gates.shortcuts(compared({"border": 0.95, "origin": 1.0}), "net", 0.9).passed
    gate = gates.shortcuts(compared({"border": 0.85, "origin": 1.0}), "net", 0.9)
    assert not gate.passed
    assert gate.reason.startswith(
        "85.0% likely to beat the hardest shortcut, a model that sees only"
    )


def test_a_share_that_is_not_reached_does_not_read_as_if_it_were() -> None:
    assert "89.9% likely" in gates.shortcuts(compared({"border": 0.8996}), "net", 0.9).reason
    assert "57.0% likely" in gates.shortcuts(compared({"border": 0.57}), "net", 0.9).reason
    facts: Any = {"leakage": {"in_use": 0.0002}}
    assert gates.audit(facts).reason.startswith("0.1% of")


def test_a_probe_of_the_same_features_is_no_shortcut() -> None:
    assert gates.shortcuts(compared({"border": 0.95, "linear probe": 0.1}), "net", 0.9).passed


def test_cross_validation_counts_before_test() -> None:
    both = compared({"border": 1.0})
    both["evidence"] |= compared({"border": 0.2}, "cross_validation")["evidence"]
    assert not gates.shortcuts(both, "net", 0.9).passed


def test_a_model_without_out_of_fold_predictions_is_judged_on_test() -> None:
    both = compared({"border": 0.95})
    others = compared({"border": 0.2}, "cross_validation")["evidence"]["cross_validation"]
    others["overall"]["differences"][0]["model"] = "another net"
    both["evidence"]["cross_validation"] = others
    assert "by test" in gates.shortcuts(both, "net", 0.9).reason


@pytest.mark.parametrize(
    "comparison", [None, {}, compared({}), compared({"linear": 1.0}), {"evidence": {}}]
)
def test_what_was_not_compared_is_not_passed(comparison: Any) -> None:
    assert not gates.shortcuts(comparison, "net", 0.5).passed
    assert not gates.shortcuts(compared({"border": 1.0}), "other", 0.5).passed


@pytest.mark.parametrize(
    ("facts", "passed"),
    [
        (None, False),
        ({}, False),
        ({"leakage": {"in_use": 0.0}}, True),
        ({"leakage": {"in_use": 0.01}}, False),
        ({"leakage": {"in_use": 0.0}, "patients": {"images": 9, "unknown": 9}}, True),
    ],
)
def test_no_relative_of_a_test_film_may_be_in_training(facts: Any, passed: bool) -> None:
    assert gates.audit(facts).passed is passed


def test_a_calibration_error_counts_by_its_lower_end() -> None:
    name = "expected_calibration_error"
    ends = {"low": 0.1, "high": 0.5}
    test: Any = {"records": 46, name: 0.3, "confidence_interval": {name: ends}}
    assert gates.calibration(test, 0.15).passed
    assert "0.300 of 46 images" in gates.calibration(test, 0.15).reason
    assert not gates.calibration(test, 0.05).passed
    test[name] = None
    assert not gates.calibration(test, 0.5).passed


def tried(auc: float | None) -> EvaluationReport:
    kinds = {} if auc is None else {"synthetic_non_radiographs": {"auc": auc}}
    return {"out_of_distribution": {"flagged": 0.02, **kinds}}


def test_a_score_that_does_not_tell_non_radiographs_from_films_is_no_champions() -> None:
    assert gates.out_of_distribution(tried(0.993), 0.6).passed
    gate = gates.out_of_distribution(tried(0.283), 0.6)
    assert not gate.passed
    assert "AUC of 0.283; 0.6 needed" in gate.reason
    assert not gates.out_of_distribution(tried(None), 0.6).passed
    assert gates.out_of_distribution({"out_of_distribution": None}, 0.6).passed
