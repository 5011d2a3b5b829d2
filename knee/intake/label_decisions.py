"""Decisions of a reviewer about labels: a table from reports/review.html, applied to the records.

A decision names an image by the digest of its pixels and the label that it has by its folder or
sheet. Nothing else changes a label, and a decision that does not fit the data stops ingest.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from knee.intake import spreadsheet
from knee.records.records_table import EXCLUDED, KEPT, QUARANTINED, RELABELLED, decision_counts
from knee.run.errors import UserError
from knee.run.messages import listed, quoted

COLUMNS: Final = ("pixel_sha256", "decision", "old_label", "new_label", "who", "when", "why")
NO_DECISIONS: Final = "no_decisions.csv"  # of conf: a header and no row, by which nothing changes
KEEP, RELABEL, EXCLUDE = "keep", "relabel", "exclude"
DIGEST_DIGITS: Final = 64
LISTED_ROWS: Final = 5  # of a message
REASON: Final = "excluded by a reviewer"
log = logging.getLogger(__name__)


class DecisionError(UserError):
    """A decision is malformed, stale or contradicts another; the message names its row."""


@dataclass(frozen=True)
class Decision:
    """One row of the table, with texts as they were typed."""

    row: int  # its number in a spreadsheet program
    pixel_sha256: str
    decision: str  # keep | relabel | exclude
    old_label: str  # by folder or sheet
    new_label: str  # after the decision; "" if excluded
    who: str
    when: str
    why: str


@dataclass(frozen=True)
class Decisions:
    """The decisions of a table."""

    path: Path  # for messages
    rows: Sequence[Decision]


def read_decisions(path: Path) -> Decisions:
    """Return the decisions in the CSV or .xlsx file `path`; none in conf/no_decisions.csv.

    Raises:
        SheetError: it cannot be read as a table.
        DecisionError: a column is missing, or a row is not a decision.
    """
    rows = spreadsheet.read_rows(path)
    header = rows[0] if rows else []
    if sorted(header) != sorted(COLUMNS):
        raise DecisionError(
            f"{path}: expected the columns {', '.join(COLUMNS)}, found {listed(header) or 'none'}: "
            "take the file that reports/review.html saves"
        )
    found = []
    for number, row in enumerate(rows[1:], start=2):
        if any(row[len(header) :]):
            raise DecisionError(f"{path}, row {number}: more cells than columns: quote its commas")
        if any(row):
            found.append(_decision(path, number, dict(zip(header, row, strict=False))))
    if not found and path.name != NO_DECISIONS:
        raise DecisionError(f"{path} has no decision: set data.decisions to conf/{NO_DECISIONS}")
    return Decisions(path, found)


def apply(records: pd.DataFrame, decided: Decisions, classes: Sequence[str]) -> pd.DataFrame:
    """Return `records`, which have copy groups, with labels as decided and the column decision.

    Excluded images are quarantined. Where nothing is decided the records are returned as they
    are. `classes` are those of the scale.

    Raises:
        DecisionError: a decision is stale, contradicts another, or leaves a class empty.
    """
    path, decisions = decided.path, decided.rows
    if not decisions:
        return records
    images = records[records["pixel_row"] >= 0]
    _check_present(decisions, zip(images["pixel_sha256"], images["label"], strict=True), path)
    _check_alike(decisions, path)
    if odd := [one for one in decisions if one.new_label not in ("", *classes)]:
        known = ", ".join(classes)
        raise DecisionError(
            f"{path}, {_rows(odd)}: new_label {quoted(odd[0].new_label)} is none of {known}"
        )
    by_image = {(one.pixel_sha256, one.old_label): one for one in decisions}
    columns = records[["pixel_sha256", "label"]].itertuples(index=False, name=None)
    found = pd.Series([by_image.get(pair) for pair in columns], index=records.index, dtype=object)
    result = records.assign(decision=[_recorded(one) for one in found])
    new = found[[one is not None and one.decision == RELABEL for one in found]]
    result.loc[new.index, "label"] = [one.new_label for one in new]
    result.loc[new.index, "class_index"] = [classes.index(one.new_label) for one in new]
    result.loc[result["decision"] == EXCLUDED, ["status", "reason"]] = [QUARANTINED, REASON]
    _check_groups(result, found, path)
    left = set(result.loc[(result["pixel_row"] >= 0) & (result["decision"] != EXCLUDED), "label"])
    if empty := [name for name in classes if name not in left]:
        raise DecisionError(f"{path} leaves no image in {', '.join(empty)}: leave the class out")
    counts = ", ".join(f"{name} {count}" for name, count in decision_counts(result).items())
    log.warning("%s: %d decisions about labels; files: %s", path, len(decisions), counts)
    return result


def _recorded(one: Decision | None) -> str:
    """What the column decision of the records says."""
    if one is None:
        return ""
    done = {KEEP: KEPT, RELABEL: f"{RELABELLED} from {one.old_label}", EXCLUDE: EXCLUDED}
    return done[one.decision]


def _decision(path: Path, number: int, cells: Mapping[str, str]) -> Decision:
    """One row; `DecisionError` where it is malformed."""
    values = {name: cells.get(name, "") for name in COLUMNS}
    if values["decision"] == KEEP:
        values["new_label"] = values["new_label"] or values["old_label"]
    one = Decision(number, **values)
    digits = set("0123456789abcdef")
    fault = ""
    if len(one.pixel_sha256) != DIGEST_DIGITS or set(one.pixel_sha256) - digits:
        fault = f"pixel_sha256 {quoted(one.pixel_sha256)} is no digest of {DIGEST_DIGITS} digits"
    elif one.decision not in (KEEP, RELABEL, EXCLUDE):
        fault = f"decision {quoted(one.decision)} is none of {KEEP}, {RELABEL}, {EXCLUDE}"
    elif missing := [name for name in ("old_label", "who", "when") if not cells.get(name)]:
        fault = f"{missing[0]} is empty"
    elif one.decision == RELABEL and one.new_label in ("", one.old_label):
        fault = "relabel needs a new_label other than old_label"
    elif one.decision == KEEP and one.new_label != one.old_label:
        fault = "keep needs old_label as new_label, or none"
    elif one.decision == EXCLUDE and one.new_label:
        fault = "exclude needs an empty new_label"
    if fault:
        raise DecisionError(f"{path}, row {number}: {fault}")
    return one


def _check_present(
    decisions: Sequence[Decision], present: Iterable[tuple[str, str]], path: Path
) -> None:
    """Refuse decisions about images that are not there, or that have another label now."""
    labels: dict[str, set[str]] = {}
    for digest, label in present:
        labels.setdefault(digest, set()).add(label)
    if gone := [one for one in decisions if one.pixel_sha256 not in labels]:
        raise DecisionError(
            f"{path}, {_rows(gone)}: no image has these pixels: remove what is not of this data"
        )
    other = [one for one in decisions if one.old_label not in labels[one.pixel_sha256]]
    if other:
        now = ", ".join(sorted(labels[other[0].pixel_sha256]))
        raise DecisionError(
            f"{path}, {_rows(other)}: the label of the image is {now}, not "
            f"{quoted(other[0].old_label)}: decide anew, or remove the row"
        )


def _check_alike(decisions: Sequence[Decision], path: Path) -> None:
    """Refuse two decisions about one image that end differently, or are about the same label."""
    first: dict[str, list[Decision]] = {}
    for one in decisions:
        for other in first.setdefault(one.pixel_sha256, []):
            if other.old_label == one.old_label or other.new_label != one.new_label:
                raise DecisionError(
                    f"{path}: rows {other.row} and {one.row} decide about one image: keep one"
                )
        first[one.pixel_sha256].append(one)


def _check_groups(records: pd.DataFrame, found: pd.Series[Any], path: Path) -> None:
    """Refuse decisions by which copies of one radiograph have different labels."""
    kept = records[~records["decision"].isin(("", EXCLUDED))]
    several = kept.groupby("picture")["label"].nunique()
    for picture in several.index[several > 1][:1]:
        rows = kept[kept["picture"] == picture].drop_duplicates("label")
        numbers = sorted(one.row for one in found[rows.index])
        raise DecisionError(
            f"{path}: rows {listed(numbers, LISTED_ROWS)} give copies of one radiograph the labels "
            f"{', '.join(sorted(rows['label']))}: give them one, or exclude the others"
        )


def _rows(decisions: Sequence[Decision]) -> str:
    several = "s" * (len(decisions) > 1)
    return f"row{several} {listed([one.row for one in decisions], LISTED_ROWS)}"
