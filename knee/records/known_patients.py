"""How many patients are known, and what cannot be said of images whose patient is not."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd


def patient_counts(images: pd.DataFrame) -> dict[str, int]:
    """Count `images` (rows of the records table), those of unknown patients, and patients.

    several_origins and both_sexes count patients whose images contradict that they are one person:
    two hospitals may have given the same number.
    """
    known = images[images["patient"] != ""]
    return {
        "images": len(images),
        "unknown": len(images) - len(known),
        "patients": int(known["patient"].nunique()),
        "several_origins": _varied(known, "origin"),
        "both_sexes": _varied(known, "sex"),
    }


def caveat(counts: Mapping[str, int] | None) -> str:
    """Return what has to stand beside every share of relatives; "" where all patients are known.

    `counts` are those of `patient_counts`; None where nobody counted.
    """
    if not counts or not counts["unknown"]:
        return "" if counts else "nobody counted the images whose patient is unknown"
    few = counts["unknown"] < counts["images"]
    whose = f"{counts['unknown']} of {counts['images']} images" if few else "no image"
    known = "unknown" if few else "known"
    return (
        f"the patient of {whose} is {known}: images of one person may be in both training and test"
    )


def _varied(known: pd.DataFrame, column: str) -> int:
    told = known[known[column] != ""]
    return int((told.groupby("patient")[column].nunique() > 1).sum())
