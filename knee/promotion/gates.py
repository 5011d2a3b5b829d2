"""Gates that a version has to pass before it may be champion; each says what it saw.

No gate chooses a model: the choice is made on images outside the test subset. They decide whether
the chosen one may be trusted with the name, and what failed is on the model version for people
to read.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

from knee.evidence.comparison.predictor_names import called
from knee.evidence.evaluation.json_contents import AuditFacts, ComparisonReport, EvaluationReport
from knee.records import known_patients

EVIDENCE: Final = ("cross_validation", "test")  # the first that was judged counts


@dataclasses.dataclass(frozen=True)
class Gate:
    """One condition, named by a word."""

    name: str
    passed: bool
    reason: str  # what was seen, in a clause


def split(protocol: str) -> Gate:
    """Check that no relatives of test images are in training, by the protocol."""
    if protocol == "random":
        return Gate("split", passed=False, reason="its split is leaky: no result can be trusted")
    return Gate("split", passed=True, reason=f"a {protocol} split")


def withdrawn(who_and_why: str) -> Gate:
    """Fail a version that a person has rolled back from: only a person makes it champion again."""
    return Gate("rollback", passed=False, reason=f"rolled back by {who_and_why}")


def audit(facts: AuditFacts | None) -> Gate:
    """Check the same by the audit's count; `facts`: audit.json."""
    if facts is None or "leakage" not in facts:
        return Gate("audit", passed=False, reason="the data were not audited")
    leakage = facts["leakage"]["in_use"]
    caveat = known_patients.caveat(facts.get("patients"))
    shown = math.ceil(round(1000 * leakage, 6)) / 1000  # never 0.0% of some
    text = f"{shown:.1%} of the test images have a relative in training"
    text += f"; {caveat}" if caveat else ""
    return Gate("audit", passed=leakage == 0, reason=text)


def shortcuts(
    comparison: ComparisonReport | None, backbone: str, minimum_probability: float
) -> Gate:
    """Check that it is better than every baseline that sees no bone, by comparison.json."""
    evidence = comparison["evidence"] if comparison else {}
    for judged in EVIDENCE:  # a distilled net has no out-of-fold predictions
        part = evidence.get(judged, {}).get("overall", {"differences": []})
        probabilities = [
            (one["probability_better"] or 0.0, one["other"])
            for one in part["differences"]
            if one["model"] == backbone and part["figures"][one["other"]]["kind"] == "shortcut"
        ]
        if probabilities:
            break
    else:
        return Gate("shortcuts", passed=False, reason="it was not compared with shortcuts")
    least, other = min(probabilities)
    shown = math.floor(round(1000 * least, 6)) / 1000  # never the needed share of less
    text = (
        f"{shown:.1%} likely to beat the hardest shortcut, {called(other)} (by "
        f"{judged.replace('_', ' ')}); {minimum_probability:.0%} needed"
    )
    return Gate("shortcuts", passed=least >= minimum_probability, reason=text)


def out_of_distribution(test: EvaluationReport, minimum_auc: float) -> Gate:
    """Check that the out-of-distribution score tells drawn non-radiographs from test images.

    A model without such a score passes: each of its answers says that it cannot tell.
    """
    name, found = "out_of_distribution", test.get("out_of_distribution")
    if not found:
        return Gate(name, passed=True, reason="it has no out-of-distribution score")
    auc = found.get("synthetic_non_radiographs", {}).get("auc")
    if auc is None:
        why = "its out-of-distribution score was not tried: evaluate.strangers_per_kind is 0"
        return Gate(name, passed=False, reason=why)
    text = (
        f"the out-of-distribution score tells drawn non-radiographs from test images with an AUC "
        f"of {auc:.3f}; {minimum_auc:g} needed"
    )
    return Gate(name, passed=auc >= minimum_auc, reason=text)


def calibration(test: EvaluationReport, maximum_error: float) -> Gate:
    """Check that the calibration error is not significantly too large; `test`: test.json.

    The lower end of its interval counts: the error of few records is mostly noise.
    """
    error = test.get("expected_calibration_error")
    low = test.get("confidence_interval", {}).get("expected_calibration_error", {}).get("low")
    if error is None or low is None:
        return Gate("calibration", passed=False, reason="the calibration error is not known")
    of = f"calibration error {error:.3f} of {test['records']} images"
    text = f"{of}, interval from {low:.3f}; limit {maximum_error:g}"
    return Gate("calibration", passed=low <= maximum_error, reason=text)
