"""The verdict: which words follow from which figures."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from knee.promotion import next_steps, verdict
from knee.promotion.gates import Gate

MODEL = "mobilenet"
PASSED = [Gate("split", passed=True, reason="x"), Gate("champion", passed=False, reason="x")]


def bounds(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def compared(
    kind: str = "cross_validation",
    *,
    value: float = 0.74,
    significant: bool = True,
    groups: int = 395,
) -> Any:
    figures = {
        MODEL: {"kind": "model", "macro_f1": bounds(value)},
        "border": {"kind": "shortcut", "macro_f1": bounds(0.68)},
    }
    row: dict[str, Any] = {"model": MODEL, "other": "border", "significant": significant}
    row["difference"] = value - 0.68
    part = {"records": 400, "groups": groups, "figures": figures, "best_shortcut": [row]}
    return {"metric": "macro_f1", "evidence": {kind: {"overall": part}}}


def told(comparison: Any, gates: list[Gate] | None = None, **test: Any) -> verdict.Verdict:
    known = {"patients": {"unknown": 0}, **test}
    return verdict.verdict(MODEL, comparison, known, PASSED if gates is None else gates)


def test_significantly_better_than_the_best_shortcut_may_be_tried() -> None:
    found = told(compared())
    assert found.text == (
        "On 400 images of 395 patients MobileNet reaches 0.74 macro-F1 (0.69-0.79); a model that "
        "sees only the image border reaches 0.68: the difference is significant, try it on images "
        "of your own before you rely on it."
    )
    assert found.usable


@pytest.mark.parametrize(
    ("comparison", "gates", "facts", "said"),
    [
        (compared(significant=False), None, {}, "is not significant, do not rely on it yet"),
        (
            compared(significant=False),
            [Gate("shortcuts", passed=False, reason="x")],
            {},
            "the difference is not significant, do not use it",
        ),
        (compared(value=0.6, significant=False), None, {}, "it is no better than that, do not use"),
        (compared(), None, {"leaky": True}, "it was tested on what it had learned, do not use it"),
        (
            compared(),
            [Gate("calibration", passed=False, reason="x")],
            {},
            "it failed the check calibration, do not use it",
        ),
        (None, None, {}, "MobileNet was not compared with baselines that see no bone"),
        (compared("none"), None, {}, "there is no verdict, do not use it"),
    ],
    ids=["by chance", "and a gate", "worse", "leaky", "a gate", "no comparison", "no evidence"],
)
def test_what_speaks_against_a_model_is_said(
    comparison: Any, gates: list[Gate] | None, facts: dict[str, Any], said: str
) -> None:
    found = told(comparison, gates, **facts)
    assert said in found.text
    assert not found.usable


def test_few_patients_are_said_beside_any_verdict() -> None:
    assert told(compared(groups=84)).text.endswith("; 84 patients are few, collect more.")
    unknown = told(compared(groups=84), patients={"unknown": 3})
    assert "On 400 images MobileNet" in unknown.text
    assert "84 different radiographs are few" in unknown.text


def test_synthetic_and_leaky_data_are_said_first() -> None:
    text = told(compared(groups=8), synthetic=True, leaky=True).text
    assert text.startswith("SYNTHETIC DATA")
    assert text.index("LEAKY SPLIT") < text.index("On 400 images")
    usable = told(compared(groups=8), synthetic=True)
    assert "the pipeline works" in usable.text
    assert "few" not in usable.advice


def test_grades_are_judged_by_gross_mistakes_too() -> None:
    found = told(compared(), off_by_two=0.034)
    assert "wrong by two steps of the scale or more in 3% of test images" in found.text


def test_cross_validation_is_believed_rather_than_the_test_subset() -> None:
    comparison = compared()
    comparison["evidence"] |= compared("test", value=0.9)["evidence"]
    assert "0.74 macro-F1" in told(comparison).text
    assert [*verdict.judged(comparison, MODEL)] == ["cross_validation", "test"]
    assert "0.90 macro-F1" in told(compared("test", value=0.9)).text


REGISTERED = {"backbone": MODEL, "alias": "champion", "version": "3"}


def steps(**changes: Any) -> list[next_steps.Step]:
    audit = {"synthetic": False, "split_protocol": "grouped", **changes.pop("audit", {})}
    registered = {**REGISTERED, **changes}
    comparison = compared(groups=84)
    found = verdict.judged(comparison, MODEL)["cross_validation"]
    return next_steps.next_steps(audit, {"alarms": ["border"]}, told(comparison), found, registered)


def test_faults_of_the_data_come_before_the_use_of_the_model() -> None:
    faults = {"rejected": 1, "conflicting_pictures": 2, "copies": {"near_copy": 3}}
    found = steps(audit={**faults, "patients": {"unknown": 4}})
    assert [step.link for step in found][:3] == [
        "data_docs/index.html",
        "review.html#conflict",
        "audit.html#copies",
    ]
    text = " ".join(step.text for step in found)
    for said in ("1 file could", "2 radiographs have", "3 files", "4 images", "border", "few"):
        assert said in text
    assert next_steps.USE in [step.command for step in found]


def test_promotion_is_no_next_command_after_a_verdict_against_the_model() -> None:
    said = dataclasses.replace(told(compared(groups=84)), usable=False)
    found = next_steps.next_steps(
        {}, {}, said, None, {**REGISTERED, "alias": "challenger", "version": "3"}
    )
    assert next_steps.commands(found) == ["make compare"]
    assert any("promote 3" in step.text for step in found)


def test_two_commands_come_next_whatever_the_outcome() -> None:
    assert next_steps.commands(steps()) == [next_steps.USE, "make compare"]
    assert next_steps.commands(steps(audit={"synthetic": True}))[0] == next_steps.OWN_DATA
    assert "promote 3" in next_steps.commands(steps(alias="challenger"))[0]
    kept = next_steps.commands(steps(alias=None, version=None))[0]
    assert kept.endswith("--model models/mobilenet")
