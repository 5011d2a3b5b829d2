"""Description of a version of the registered model: its metrics, and why it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from knee.evidence.evaluation.json_contents import EvaluationReport
from knee.promotion import champion_decision, gates
from knee.promotion.candidates import UNSEEN
from knee.records import known_patients

GATE: Final = "gate."  # how the key of a gate's tag begins
PASSED, FAILED = "passed: ", "FAILED: "


def description(
    test: EvaluationReport,
    selection: Mapping[str, float],
    facts: Mapping[str, Any],
    decided: champion_decision.Decision,
) -> str:
    """Return Markdown for a model version: what it is, its figures, why it stands there.

    `selection` has the figure of each model that it was chosen by; `facts` are backbone, synthetic,
    split_protocol, metric and chosen_by, a subset.
    """
    marks = [f"{facts['split_protocol']} split"]
    if facts["split_protocol"] == "random":
        marks.append("LEAKY: for comparison only, no result")
    if facts["synthetic"]:
        marks.append("SYNTHETIC DATA: the figures say nothing about patients")
    if "patients" in test and (caveat := known_patients.caveat(test["patients"])):
        marks.append(caveat)
    figures = [
        f"- {name} {with_interval(test, name)}"
        for name, value in sorted(test.items())
        if isinstance(value, float)
    ]
    chosen = ", ".join(f"{name} {value:.3f}" for name, value in selection.items())
    return "\n".join(
        [
            f"{facts['backbone']}, {', '.join(marks)}.",
            f"\n{decided.alias.capitalize()}, {decided.reason}.",
            *(["\nWhat a champion has to pass:\n"] if decided.gates else []),
            *(
                f"- {'passed' if gate.passed else '**FAILED**'} {gate.name}: {gate.reason}"
                for gate in decided.gates
            ),
            "\nTest figures (interval):\n",
            *figures,
            f"\nChosen by {facts['metric']} {UNSEEN[facts['chosen_by']]}: {chosen}.",
        ]
    )


def with_interval(test: Mapping[str, Any], name: str) -> str:
    """Return a figure of a report with its interval, as text; a dash where it is undefined."""
    if test.get(name) is None:
        return "-"
    bounds = test.get("confidence_interval", {}).get(name) or {}
    if bounds.get("low") is None or bounds.get("high") is None:
        return f"{test[name]:.3f}"
    return f"{test[name]:.3f} ({bounds['low']:.3f} to {bounds['high']:.3f})"


def tags(seen: Sequence[gates.Gate]) -> dict[str, str]:
    """Return one tag a gate, so that MLflow's list of versions shows what failed."""
    return {
        f"{GATE}{gate.name}": f"{PASSED if gate.passed else FAILED}{gate.reason}" for gate in seen
    }


def recorded_gates(found: Mapping[str, str]) -> list[gates.Gate]:
    """Return the gates that `tags` wrote among the tags of a version."""
    return [
        gates.Gate(key.removeprefix(GATE), value.startswith(PASSED), value.partition(": ")[2])
        for key, value in sorted(found.items())
        if key.startswith(GATE) and value.startswith((PASSED, FAILED))
    ]
