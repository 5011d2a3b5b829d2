"""The page that a run ends with: the verdict, what it rests on, what to do next, all other pages.

It names files, so it stays on this machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from knee.audit.audit_pictures import Thumbnails
from knee.drawing import contact_sheets
from knee.drawing.html import render
from knee.evidence.comparison import comparison_report
from knee.evidence.comparison.predictor_names import called
from knee.promotion.description import with_interval
from knee.promotion.model_card import MOST_NAMED
from knee.promotion.verdict import Judged
from knee.statistics import scores
from knee.storage.arrays import PixelRows

MISTAKES: Final = 8
THUMBNAIL_PIXELS: Final = 224
MOST_BYTES: Final = 4_000_000  # of the page
LONGEST_NAME: Final = 60  # letters; of a longer name the end is shown
TABLED: Final = "macro_f1"  # of DVC's table
CLOSE: Final = 0.05  # mean confidence and accuracy that differ by less are called alike


def page(facts: Mapping[str, Any]) -> str:
    """Return the page as HTML.

    The `facts` are verdict, judged (or None), steps, links ((title, address) pairs), registered
    (registration.json), data_set, date, mistakes, classes, confusion, calibration, test, audit.
    """
    found: Judged | None = facts["judged"]
    return render(
        "promotion/summary.html.j2",
        **facts,
        metric=scores.title(found.metric) if found else "",
        evidence=found.kind.replace("_", "-") if found else "",
        rows=comparison_report.bars(found.part, found.metric, found.model) if found else [],
        model=called(facts["registered"]["backbone"]),
        most_named=MOST_NAMED,
    )


def worst(
    test: pd.DataFrame, records: pd.DataFrame, pixels: PixelRows, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the wrong predictions with the highest probabilities, with file names and images."""
    chosen, sure = contact_sheets.mistakes(test, classes, MISTAKES)
    thumbnails = Thumbnails(pixels, THUMBNAIL_PIXELS, MOST_BYTES)
    rows_of = dict(zip(records["record"], records["pixel_row"], strict=True))
    return [
        {
            "thumbnail": thumbnails.of(int(rows_of[line.record])),
            "actual": line.label,
            "predicted": line.predicted,
            "sure": float(sure[row]),
            "name": str(line.source)[-LONGEST_NAME:],
        }
        for row, line in zip(chosen, test.iloc[chosen].itertuples(), strict=True)
    ]


def confusion(table: pd.DataFrame, classes: Sequence[str]) -> list[list[int]]:
    """Return counts[actual][predicted] of a table with a row per image."""
    counts = pd.crosstab(table["label"], table["predicted"])
    found: list[list[int]] = (
        counts.reindex(index=list(classes), columns=list(classes), fill_value=0).to_numpy().tolist()
    )
    return found


def calibration(test: pd.DataFrame, report: Mapping[str, Any], classes: Sequence[str]) -> str:
    """Return in words whether the probabilities of the `test` rows can be believed."""
    _, sure = contact_sheets.mistakes(test, classes, 0)
    right = test["label"].eq(test["predicted"]).to_numpy()
    said, was = float(np.mean(sure)), float(np.mean(right))
    if abs(said - was) < CLOSE:
        judgement = "Its probabilities fit on average"
    else:
        judgement = "It is too sure of itself" if said > was else "It is too hesitant"
    name = "expected_calibration_error"
    error = with_interval(report, name)
    low = (report.get("confidence_interval", {}).get(name) or {}).get("low")
    if low is not None and report[name] < low:
        error += ", an interval above it, as resampling adds to this error"
    text = (
        f"{judgement}: it says {said:.0%} and is right in {was:.0%} of the test images "
        f"(calibration error {error} there)."
    )
    sets = report.get("conformal")
    if sets:
        alone = "never name a single class, so they leave every image undecided"
        if sets["singletons"]:
            alone = f"name a single class in {sets['singletons']:.0%}"
        text += (
            f" Its prediction sets, meant to hold the true class in {sets['level']:.0%} of images, "
            f"do so in {sets['coverage']:.0%}, and {alone}."
        )
    return text


def headline(
    registered: Mapping[str, Any], found: Mapping[str, Judged], report: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the few figures of a run for DVC's table; `found` by kind of evidence."""
    said: dict[str, Any] = {"backbone": registered["backbone"]}
    said["champion"] = registered["alias"] == "champion"
    for kind, short in (("cross_validation", "cross_validated"), ("test", "test")):
        one = found.get(kind)
        bounds = one.part["figures"][one.model][TABLED] if one else {}
        said[f"{short}_{TABLED}"] = bounds.get("value")
        said |= {f"{short}_{TABLED}_{end}": bounds.get(end) for end in ("low", "high")}
    best = next(iter(found.values()), None)
    row = best.shortcut if best else None
    said["best_shortcut"] = row["other"] if row else None
    figures = best.part["figures"][row["other"]] if best and row else {TABLED: {"value": None}}
    said[f"best_shortcut_{TABLED}"] = figures[TABLED]["value"]
    said["test_quadratic_kappa"] = report.get("quadratic_kappa")
    said["test_calibration_error"] = report.get("expected_calibration_error")
    return said
