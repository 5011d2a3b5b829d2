"""The verdict on a trained model, in words that follow from its figures alone.

It is the first sentence of the page that a run ends with, and of the model's version in MLflow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

from knee.evidence.comparison.predictor_names import called
from knee.evidence.evaluation.json_contents import ComparisonReport
from knee.promotion import gates
from knee.promotion.gates import Gate
from knee.statistics import scores

SYNTHETIC: Final = (
    "SYNTHETIC DATA: these radiographs were drawn by a program, so nothing here says anything "
    "about patients."
)
LEAKY: Final = (
    "LEAKY SPLIT: copies of test images, or images of the same patients, were in training, so "
    "these figures are no results."
)
BY_CHANCE: Final = "the difference is not significant"
FEW_GROUPS: Final = 100  # of patients or copy groups: the intervals are wide with fewer


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the figures say and what follows; warnings come first."""

    warnings: tuple[str, ...]
    sentence: str
    advice: str
    usable: bool  # whether the model may be tried on new images

    @property
    def text(self) -> str:
        """All of it, as one line."""
        return " ".join([*self.warnings, f"{self.sentence}: {self.advice}."])


@dataclasses.dataclass(frozen=True)
class Judged:
    """The comparison that decides about one model, and its row against the best shortcut."""

    kind: str  # cross_validation | test
    model: str
    part: Mapping[str, Any]
    metric: str
    figure: Mapping[str, float | None]  # value, low, high
    shortcut: Mapping[str, Any] | None  # of best_shortcut


def judged(comparison: ComparisonReport | None, model: str) -> dict[str, Judged]:
    """Return by what `model` is judged, cross-validation first; {} where it was not compared."""
    found: dict[str, Judged] = {}
    if comparison is None:
        return found
    for kind in gates.EVIDENCE:
        part = comparison["evidence"].get(kind, {}).get("overall", {})
        figure = part.get("figures", {}).get(model, {}).get(comparison.get("metric"))
        if figure and figure["value"] is not None:
            rows = [one for one in part.get("best_shortcut", []) if one["model"] == model]
            row = rows[0] if rows else None
            found[kind] = Judged(kind, model, part, comparison["metric"], figure, row)
    return found


def verdict(
    model: str,
    comparison: ComparisonReport | None,
    test: Mapping[str, Any],
    seen: Sequence[Gate],
) -> Verdict:
    """Return the verdict on `model`, by comparison.json, its test.json and the gates.

    The gate "champion" is no reason against a model: it says that another one is as good.
    """
    synthetic, leaky = test.get("synthetic", False), test.get("leaky", False)
    warnings = (SYNTHETIC,) * synthetic + (LEAKY,) * leaky
    found = next(iter(judged(comparison, model).values()), None)
    if found is None:
        sentence = (
            f"{called(model)} was not compared with baselines that see no bone on the same images"
        )
        return Verdict(warnings, sentence, "there is no verdict, do not use it", usable=False)
    reached = f"{_images(found.part, test)} {called(model)} reaches {_bounded(found)}"
    if (gross := test.get("off_by_two")) is not None:
        reached += f" and is wrong by two steps of the scale or more in {gross:.0%} of test images"
    failed = [gate for gate in seen if not gate.passed and gate.name != "champion"]
    against = _against(found, failed, leaky=leaky)
    few = found.part["groups"] < FEW_GROUPS and not synthetic
    champion = against == BY_CHANCE and not failed  # as no gate is against it
    refused = f"{against}, do not {'rely on it yet' if champion else 'use it'}"
    advice = refused if against else _in_favour(synthetic=synthetic)
    if few:
        advice += f"; {found.part['groups']} {_unit(test)} are few, collect more"
    sentence = "; ".join(filter(None, [reached, _beside(found)]))
    return Verdict(warnings, sentence, advice, usable=not against)


def _against(found: Judged, failed: Sequence[Gate], *, leaky: bool) -> str:
    """Why the model is not to be used, the weightiest reason; "" if there is none."""
    row = found.shortcut
    if leaky:
        return "it was tested on what it had learned"
    if row is not None and not row["significant"]:
        worse = (row["difference"] or 0) < 0
        return "it is no better than that" if worse else BY_CHANCE
    if failed:
        names = " and ".join(gate.name.replace("_", " ") for gate in failed)
        return f"it failed the check{'s' if len(failed) > 1 else ''} {names}"
    return "" if row is not None else "no shortcut was tried"


def _in_favour(*, synthetic: bool) -> str:
    if synthetic:
        return "the difference is significant, so the pipeline works: run it on your own films"
    return "the difference is significant, try it on images of your own before you rely on it"


def _images(part: Mapping[str, Any], test: Mapping[str, Any]) -> str:
    counts = test.get("patients") or {"unknown": part["records"]}
    of = f" of {part['groups']} patients" if not counts["unknown"] else ""
    return f"On {part['records']} images{of}"


def _unit(test: Mapping[str, Any]) -> str:
    counts = test.get("patients")
    return "patients" if counts and not counts["unknown"] else "different radiographs"


def _bounded(found: Judged) -> str:
    one = found.figure
    text = f"{one['value']:.2f} {scores.title(found.metric)}"
    if one["low"] is None or one["high"] is None:
        return text
    return f"{text} ({one['low']:.2f}-{one['high']:.2f})"


def _beside(found: Judged) -> str:
    """The best shortcut and its figure; "" where there is none."""
    if found.shortcut is None:
        return ""
    name = found.shortcut["other"]
    value = found.part["figures"][name][found.metric]["value"]
    reached = "reaches" if value is not None else "has no figure"
    number = "" if value is None else f" {value:.2f}"
    return f"{called(name)} {reached}{number}"
