"""Expectations of a records table: schema, ranges, uniqueness, class counts, shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from knee.records.reasons import reasons
from knee.records.records_table import COLUMNS, QUARANTINED, REJECTED, USED
from knee.validation.suites import Index, Suite, Table, expect, run

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

LISTED: Final = 500  # files set aside that the report names
HEX: Final = r"^[0-9a-f]{64}$"
REASON: Final = "each file set aside has a reason"
STATUS: Final = "each file is used, quarantined or rejected"
BORDERS: Final = ("border_top", "border_bottom", "border_left", "border_right")
OLDEST_YEARS: Final = 120
STRANGEST_T_SCORE: Final = 12  # either way
UNIQUE, BETWEEN, ONE_OF = (
    "ColumnValuesToBeUnique",
    "ColumnValuesToBeBetween",
    "ColumnValuesToBeInSet",
)


@dataclass(frozen=True)
class Thresholds:
    """Limits of the suites: images a class; shares 0-1 of all files, or of all copy groups."""

    minimum_images_per_class: int
    maximum_rejected_share: float
    maximum_quarantined_share: float
    maximum_conflicting_share: float  # copy groups under several labels


def check(records: pd.DataFrame, limits: Thresholds, docs: Path | None) -> list[dict[str, Any]]:
    """Run all suites over `records`; see `suites.run` for `docs` and the results."""
    return run(_suites(records, limits), docs, _index(records))


def counts(records: pd.DataFrame) -> dict[str, Any]:
    """Count files by status, copy groups, and used files of each class."""
    per_class = records.loc[records["status"] == USED, "label"].value_counts().sort_index()
    return {
        "files": len(records),
        "used": int((records["status"] == USED).sum()),
        "quarantined": int((records["status"] == QUARANTINED).sum()),
        "rejected": int((records["status"] == REJECTED).sum()),
        "pictures": int(records.loc[records["picture"] >= 0, "picture"].nunique()),
        "per_class": {str(name): int(count) for name, count in per_class.items()},
    }


def conflicting_share(records: pd.DataFrame) -> float:
    """Return the share, 0-1, of the copy groups that stand under several labels."""
    images = records[records["picture"] >= 0]
    labels = images.groupby("picture")["label"].nunique()
    return float((labels > 1).mean()) if len(labels) else 0.0


def _suites(records: pd.DataFrame, limits: Thresholds) -> dict[str, Suite]:
    # One row a pair: a label with two indices, or an index with two labels, stands out.
    named = records[records["class_index"] >= 0]
    per_class = named["status"].eq(USED).groupby([named["label"], named["class_index"]]).sum()
    shares = pd.DataFrame({"data": ["share of all files"]})
    for status in (REJECTED, QUARANTINED):
        shares[status] = records["status"].eq(status).mean()
    shares["conflicting"] = conflicting_share(records)
    images = records[records["status"] != REJECTED]
    images = images.assign(
        height_without_borders=images["height"] - images["border_top"] - images["border_bottom"],
        width_without_borders=images["width"] - images["border_left"] - images["border_right"],
    )
    aside = records[records["status"] != USED]
    reason = expect("ColumnValueLengthsToBeBetween", REASON, column="reason", min_value=1)
    return {
        "records": Suite(records, "source", _of_files()),
        "set_aside": Suite(aside, "source", [reason]),
        "films": Suite(images, "source", [*_of_images(), *_of_persons()]),
        "classes": Suite(per_class.reset_index(name="images"), "label", _of_classes(limits)),
        "shares": Suite(shares, "data", _of_shares(limits)),
    }


def _of_files() -> list[Expectation]:
    statuses = [USED, QUARANTINED, REJECTED]
    return [
        expect("TableColumnsToMatchSet", "the columns are as agreed", column_set=[*COLUMNS]),
        expect("TableRowCountToBeBetween", "there is at least one file", min_value=1),
        expect(UNIQUE, "each file has its own record", column="record"),
        expect(UNIQUE, "each file has its own source", column="source"),
        expect(ONE_OF, STATUS, column="status", value_set=statuses),
    ]


def _of_images() -> list[Expectation]:
    lengths, match = "ColumnValueLengthsToBeBetween", "ColumnValuesToMatchRegex"
    hashes = ("sha256", "pixel_sha256", "perceptual_hash")
    sizes = ("width", "height", "bytes")
    numbers = ("class_index", "pixel_row", "picture", "group")
    inner = ("height_without_borders", "width_without_borders")
    spacing = {"column": "pixel_spacing_mm", "min_value": 0, "strict_min": True}
    return [
        *(expect(match, f"{n} is 64 hex digits", column=n, regex=HEX) for n in hashes),
        expect(lengths, "each film has a label", column="label", min_value=1),
        *(expect(BETWEEN, f"each film has a {n}", column=n, min_value=0) for n in numbers),
        expect(UNIQUE, "each film has pixels of its own", column="pixel_row"),
        *(expect(BETWEEN, f"{n} is positive", column=n, min_value=1) for n in sizes),
        expect(BETWEEN, "bits is 1-32", column="bits", min_value=1, max_value=32),
        expect(BETWEEN, "pixel_spacing_mm is positive, or unknown", **spacing),
        *(expect(BETWEEN, f"{n} is not negative", column=n, min_value=0) for n in BORDERS),
        *(expect(BETWEEN, f"{n} is positive", column=n, min_value=1) for n in inner),
    ]


def _of_persons() -> list[Expectation]:
    years = {"column": "age_years", "min_value": 0, "max_value": OLDEST_YEARS}
    scores = {"column": "t_score", "min_value": -STRANGEST_T_SCORE, "max_value": STRANGEST_T_SCORE}
    sides = {"column": "side", "value_set": ["left", "right", ""]}
    return [
        expect(ONE_OF, "side is left, right or unknown", **sides),
        expect(ONE_OF, "sex is F, M or unknown", column="sex", value_set=["F", "M", ""]),
        expect(BETWEEN, f"age_years is 0-{OLDEST_YEARS}, or unknown", **years),
        expect(BETWEEN, f"t_score is within {STRANGEST_T_SCORE} of 0, or unknown", **scores),
    ]


def _of_classes(limits: Thresholds) -> list[Expectation]:
    least = limits.minimum_images_per_class
    enough = f"each class has at least {least} used films"
    return [
        expect("TableRowCountToBeBetween", "there are two or more classes", min_value=2),
        expect(UNIQUE, "each label has one class_index", column="label"),
        expect(UNIQUE, "each class_index has one label", column="class_index"),
        expect(BETWEEN, enough, column="images", min_value=least),
    ]


def _of_shares(limits: Thresholds) -> list[Expectation]:
    return [
        expect(BETWEEN, f"at most {most:.6g} of all {what}", column=column, max_value=most)
        for column, most, what in (
            (REJECTED, limits.maximum_rejected_share, "files are rejected"),
            (QUARANTINED, limits.maximum_quarantined_share, "files are quarantined"),
            (
                "conflicting",
                limits.maximum_conflicting_share,
                "pictures stand under several labels",
            ),
        )
    ]


def _index(records: pd.DataFrame) -> Index:
    aside = records.loc[records["status"] != USED, ["source", "status", "reason"]]
    rows = aside.sort_values("status", ascending=False, kind="stable").to_numpy().tolist()
    totals = counts(records)
    totals |= {f"used {name}": count for name, count in totals.pop("per_class").items()}
    why = [[r.status, r.reason, r.count, _listed(r.examples, r.count)] for r in reasons(records)]
    cut = f", the first {LISTED}" if len(rows) > LISTED else ""
    return Index(
        "Validation of the radiographs",
        [", ".join(f"{name} {count}" for name, count in totals.items())],
        [
            Table("Why files were set aside", ("status", "reason", "files", "for example"), why),
            Table(
                f"Files set aside: {len(rows)}{cut}", ("file", "status", "reason"), rows[:LISTED]
            ),
        ],
    )


def _listed(examples: Sequence[str], count: int) -> str:
    more = count - len(examples)
    return ", ".join(examples) + (f" and {more} more" if more else "")
