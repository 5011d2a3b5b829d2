"""Expectations of a records table: schema, ranges, uniqueness, class counts, shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from knee.reading.decoded import OLDEST_YEARS
from knee.records.conflicts import conflicts_of
from knee.records.records_table import (
    BORDERS,
    QUARANTINED,
    REJECTED,
    UNLISTED,
    USED,
    columns_of,
    reasons,
    status_counts,
)
from knee.validation.suites import Index, Suite, Table, between, expect, one_of, run, unique

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

LISTED: Final = 500  # files set aside that the report names
LENGTHS: Final = "ColumnValueLengthsToBeBetween"
STRANGEST_T_SCORE: Final = 12  # either way


@dataclass(frozen=True)
class Thresholds:
    """Limits of the suites: images a class; shares 0-1 of all files, or of all copy groups."""

    minimum_images_per_class: int
    maximum_rejected_share: float
    maximum_quarantined_share: float
    maximum_conflicting_share: float  # copy groups under several labels
    maximum_patient_share: float  # of all images, one patient's
    maximum_noted_share: float  # of all images, those with a note of what is doubtful


def check(records: pd.DataFrame, limits: Thresholds, docs: Path | None) -> list[dict[str, Any]]:
    """Run all suites over `records`; see `suites.run` for `docs` and the results."""
    return run(_suites(records, limits), docs, _index(records))


def counts(records: pd.DataFrame) -> dict[str, Any]:
    """Count files by status, copy groups, and used files of each class."""
    per_class = records.loc[records["status"] == USED, "label"].value_counts().sort_index()
    return {
        "files": len(records),
        **status_counts(records),
        "pictures": int(records.loc[records["picture"] >= 0, "picture"].nunique()),
        "per_class": {str(name): int(count) for name, count in per_class.items()},
    }


def _suites(records: pd.DataFrame, limits: Thresholds) -> dict[str, Suite]:
    # One row a pair: a label with two indices, or an index with two labels, stands out.
    named = records[records["class_index"] >= 0]
    per_class = named["status"].eq(USED).groupby([named["label"], named["class_index"]]).sum()
    aside = records[records["status"] != USED]
    reason = "each file set aside has a reason"
    return {
        "records": Suite(records, "source", _of_files(columns_of(records))),
        "set_aside": Suite(
            aside, "source", [expect(LENGTHS, reason, column="reason", min_value=1)]
        ),
        "films": Suite(_images(records), "source", _of_images()),
        "classes": Suite(per_class.reset_index(name="images"), "label", _of_classes(limits)),
        "shares": Suite(_shares(records), "data", _of_shares(limits)),
    }


def _of_files(columns: Sequence[str]) -> list[Expectation]:
    status = "each file is used, quarantined, rejected or unlisted"
    return [
        expect("TableColumnsToMatchSet", "the columns are as agreed", column_set=[*columns]),
        expect("TableRowCountToBeBetween", "there is at least one file", min_value=1),
        unique("each file has its own record", "record"),
        unique("each file has its own source", "source"),
        one_of(status, "status", [USED, QUARANTINED, REJECTED, UNLISTED]),
    ]


def _images(records: pd.DataFrame) -> pd.DataFrame:
    images = records[~records["status"].isin([REJECTED, UNLISTED])]
    return images.assign(
        height_without_borders=images["height"] - images["border_top"] - images["border_bottom"],
        width_without_borders=images["width"] - images["border_left"] - images["border_right"],
    )


def _of_images() -> list[Expectation]:
    match, hexadecimal = "ColumnValuesToMatchRegex", r"^[0-9a-f]{64}$"
    hashes = ("sha256", "pixel_sha256", "perceptual_hash")
    sizes = ("width", "height", "bytes")
    numbers = ("class_index", "pixel_row", "picture", "group")
    inner = ("height_without_borders", "width_without_borders")
    spacing = {"column": "pixel_spacing_mm", "min_value": 0, "strict_min": True}
    t_score = f"t_score is within {STRANGEST_T_SCORE} of 0, or unknown"
    return [
        *(expect(match, f"{n} is 64 hex digits", column=n, regex=hexadecimal) for n in hashes),
        expect(LENGTHS, "each film has a label", column="label", min_value=1),
        *(between(f"each film has a {name}", name, 0) for name in numbers),
        unique("each film has pixels of its own", "pixel_row"),
        *(between(f"{name} is positive", name, 1) for name in sizes),
        between("bits is 1-32", "bits", 1, 32),
        expect("ColumnValuesToBeBetween", "pixel_spacing_mm is positive, or unknown", **spacing),
        *(between(f"{name} is not negative", name, 0) for name in BORDERS),
        *(between(f"{name} is positive", name, 1) for name in inner),
        one_of("side is left, right or unknown", "side", ["left", "right", ""]),
        one_of("sex is F, M or unknown", "sex", ["F", "M", ""]),
        between(f"age_years is 0-{OLDEST_YEARS}, or unknown", "age_years", 0, OLDEST_YEARS),
        between(t_score, "t_score", -STRANGEST_T_SCORE, STRANGEST_T_SCORE),
    ]


def _of_classes(limits: Thresholds) -> list[Expectation]:
    least = limits.minimum_images_per_class
    return [
        expect("TableRowCountToBeBetween", "there are two or more classes", min_value=2),
        unique("each label has one class_index", "label"),
        unique("each class_index has one label", "class_index"),
        between(f"each class has at least {least} used films", "images", least),
    ]


def _shares(records: pd.DataFrame) -> pd.DataFrame:
    """One row: shares, 0-1, of all listed files, and of the copy groups under several labels."""
    listed = records[records["status"] != UNLISTED]
    images = records[records["picture"] >= 0]
    pictures = images["picture"].nunique()
    shares = {
        "data": "share of all files",
        REJECTED: listed["status"].eq(REJECTED).mean(),
        QUARANTINED: listed["status"].eq(QUARANTINED).mean(),
        "conflicting": len(conflicts_of(records)) / pictures if pictures else 0.0,
        "of_one_patient": _largest_patient(records),
        "noted": (images["note"] != "").mean() if len(images) else 0.0,
    }
    return pd.DataFrame([shares])


def _largest_patient(records: pd.DataFrame) -> float:
    images = records.loc[records["picture"] >= 0, "patient"]
    return float(images[images != ""].value_counts().max() / len(images)) if any(images) else 0.0


def _of_shares(limits: Thresholds) -> list[Expectation]:
    asked = (
        (REJECTED, limits.maximum_rejected_share, "files are rejected"),
        (QUARANTINED, limits.maximum_quarantined_share, "files are quarantined"),
        ("conflicting", limits.maximum_conflicting_share, "radiographs have several labels"),
    )
    most = limits.maximum_patient_share
    one_patient = (
        f"at most {most:.6g} of all images have the same patient number (one that more have is a "
        "placeholder: add its text to data.patient_placeholders, and the patient is unknown)"
    )
    return [
        *(
            between(f"at most {share:.6g} of all {what}", column, most=share)
            for column, share, what in asked
        ),
        between(one_patient, "of_one_patient", most=most),
        between(
            f"at most {limits.maximum_noted_share:.6g} of all images have a note of a doubt",
            "noted",
            most=limits.maximum_noted_share,
        ),
    ]


def _index(records: pd.DataFrame) -> Index:
    aside = records.loc[records["status"] != USED, ["source", "status", "reason"]]
    rows = aside.sort_values("status", ascending=False, kind="stable").to_numpy().tolist()
    totals = counts(records)
    totals |= {f"used {name}": count for name, count in totals.pop("per_class").items()}
    why = []
    for one in reasons(records):
        more = one.count - len(one.examples)
        listed = ", ".join(one.examples) + (f" and {more} more" if more else "")
        why.append([one.status, one.reason, one.count, listed])
    cut = f", the first {LISTED}" if len(rows) > LISTED else ""
    title = f"Files set aside: {len(rows)}{cut}"
    return Index(
        "Validation of the radiographs",
        [", ".join(f"{name} {count}" for name, count in totals.items())],
        [
            Table("Why files were set aside", ("status", "reason", "files", "for example"), why),
            Table(title, ("file", "status", "reason"), rows[:LISTED]),
        ],
    )
