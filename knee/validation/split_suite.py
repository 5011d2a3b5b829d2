"""Expectations of a split table: one row a record, no group in two subsets, every class in each.

The random protocol is leaky by design: what it breaks is listed as not asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from knee.records import known_patients
from knee.records.records_table import USED
from knee.splits.split_table import COLUMNS, SUBSETS, UNUSED, patient_counts
from knee.validation.suites import Index, Suite, between, expect, one_of, run, unique

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation


@dataclass(frozen=True)
class Wanted:
    """The requested split, and the limits of its checks."""

    protocol: Literal["grouped", "official", "random"]
    validation_share: float  # of the records in subsets, 0-1
    test_share: float  # likewise
    folds: int
    minimum_images_per_class: int  # in each subset
    maximum_share_error: float  # largest distance of a subset's share from the wanted one, 0-1


def check(
    split: pd.DataFrame, records: pd.DataFrame, wanted: Wanted, docs: Path | None
) -> list[dict[str, Any]]:
    """Run all suites over the split of `records`; see `suites.run` for `docs` and results."""
    lines = [", ".join(f"{name} {count}" for name, count in counts(split).items())]
    if wanted.protocol == "random":
        lines.append(
            "LEAKY SPLIT: the random protocol puts copies of one image into several subsets. "
            "It is for comparison only, and what it breaks was not asked for."
        )
    if caveat := known_patients.caveat(patient_counts(records, split)):
        lines.append(f"{caveat.capitalize()}.")
    return run(_suites(split, records, wanted), docs, Index("Validation of the split", lines))


def counts(split: pd.DataFrame) -> dict[str, int]:
    """Count records by subset."""
    return {name: int((split["subset"] == name).sum()) for name in (*SUBSETS, UNUSED)}


def _suites(split: pd.DataFrame, records: pd.DataFrame, wanted: Wanted) -> dict[str, Suite]:
    grouped = wanted.protocol != "random"
    drawn = wanted.protocol != "official"  # else the shares are the makers' choice
    joined = _joined(split, records)
    unused = joined["subset"] == UNUSED
    members = joined[~unused]
    last, least = wanted.folds - 1, wanted.minimum_images_per_class
    most = wanted.maximum_share_error
    fold = between(f"each record of a subset is in a fold 0-{last}", "fold", 0, last)
    status = one_of("no quarantined or rejected record is in a subset", "status", [USED])
    once = between("each picture is there once", "records", most=1)
    enough = between(f"each class has at least {least} records in each subset", "records", least)
    near = between(
        f"each subset's share is within {most:.6g} of the wanted one", "error", most=most
    )
    no_fold = one_of("no unused record is in a fold", "fold", [-1])
    return {
        "table": Suite(split, "record", _of_table(len(records))),
        "rows": Suite(joined, "row", _of_rows()),
        "unused": Suite(joined[unused], "row", [no_fold]),
        "members": Suite(members, "row", [fold]),
        "statuses": Suite(members, "row", [status], asked=grouped),
        "groups": Suite(_groups(members), "group", _of_groups(), asked=grouped),
        "pictures": Suite(_copy_groups(members), "picture", [once], asked=grouped),
        "classes": Suite(_classes(members, records), "part", [enough]),
        "shares": Suite(_shares(members, wanted), "subset", [near], asked=drawn),
    }


def _joined(split: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `split` with what the records say of each, and how examples call it."""
    described = records[["record", "source", "label", "status", "picture"]]
    described = described.assign(group_of_record=records["group"])
    joined = split.merge(described, on="record", how="left")
    joined["known"] = joined["source"].notna()
    sources = " (" + joined["source"] + ")"
    joined["row"] = "record " + joined["record"].astype(str) + sources.fillna("")
    joined["has_group_of_record"] = joined["group"].eq(joined["group_of_record"])
    return joined


def _of_table(count: int) -> list[Expectation]:
    columns = f"the columns are {', '.join(COLUMNS)}"
    return [
        expect("TableColumnsToMatchSet", columns, column_set=[*COLUMNS]),
        expect("TableRowCountToEqual", f"there are {count} rows, one per record", value=count),
        unique("each record has one row", "record"),
    ]


def _of_rows() -> list[Expectation]:
    kinds = [*SUBSETS, UNUSED]
    return [
        one_of("each row is of a record", "known", [True]),
        one_of("each row has its record's group", "has_group_of_record", [True]),
        one_of(f"each subset is {', '.join(kinds)}", "subset", kinds),
    ]


def _of_groups() -> list[Expectation]:
    return [
        between("no group is in two subsets", "subsets", most=1),
        between("no group is in two folds", "folds", most=1),
    ]


def _groups(members: pd.DataFrame) -> pd.DataFrame:
    """One row a group: how many subsets, which, and how many folds it is in."""
    grouped = members.groupby("group")
    frame = grouped.agg(subsets=("subset", "nunique"), folds=("fold", "nunique")).reset_index()
    first = grouped["row"].agg(lambda rows: ", ".join(rows.head(2))).to_numpy()
    frame["group"] = [f"group {n} ({row})" for n, row in zip(frame["group"], first, strict=True)]
    return frame


def _copy_groups(members: pd.DataFrame) -> pd.DataFrame:
    frame = members.groupby("picture").size().reset_index(name="records")
    return frame.assign(picture="picture " + frame["picture"].astype(str))


def _classes(members: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """One row a subset and class of the records, also where it has no record."""
    labels = sorted(set(records.loc[records["class_index"] >= 0, "label"]))
    table = pd.crosstab(members["subset"], members["label"])
    whole = table.reindex(index=list(SUBSETS), columns=labels, fill_value=0)
    rows = [(f"{s} {label}", int(whole.loc[s, label])) for s in SUBSETS for label in labels]
    return pd.DataFrame(rows, columns=["part", "records"])


def _shares(members: pd.DataFrame, wanted: Wanted) -> pd.DataFrame:
    train_share = 1 - wanted.validation_share - wanted.test_share
    asked = np.array([train_share, wanted.validation_share, wanted.test_share])
    found = np.array([members["subset"].eq(name).mean() for name in SUBSETS])
    return pd.DataFrame({"subset": SUBSETS, "share": found, "error": np.abs(found - asked)})
