"""The suites: good records pass, each fault fails by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stages.radiographs import expectations
from tests.radiographs.tables import records

LIMITS = expectations.Thresholds(5, 0.1, 0.2)


def good() -> pd.DataFrame:
    """40 films in two classes."""
    return records([n % 2 for n in range(40)], list(range(40)))


def failed(table: pd.DataFrame) -> dict[str, list[str]]:
    """Failed expectations with their examples."""
    outcomes = expectations.check(table, LIMITS, None)
    return {one["expectation"]: one["examples"] for one in outcomes if not one["success"]}


def reject(table: pd.DataFrame, count: int, status: str) -> pd.DataFrame:
    table.loc[: count - 1, "status"] = status
    if status == "rejected":
        table.loc[: count - 1, ["pixel_row", "picture", "group"]] = -1
    return table


def change(column: str, value: int | str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Put `value` into the third row."""

    def put(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[2, column] = value
        return table

    return put


def test_good_records_meet_every_expectation() -> None:
    assert not failed(good())


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (change("source", "class1/0001.png"), "each file has its own source"),
        (change("status", "lost"), "each file is used, quarantined or rejected"),
        (change("sha256", "none"), "sha256 is 64 hexadecimal digits"),
        (change("pixel_row", 1), "each film has pixels of its own"),
        (change("group", -1), "each film has a group"),
        (change("width", 0), "width is positive"),
        (lambda t: t.assign(extra=1), "the table has the columns of the records schema"),
        (lambda t: reject(t, 5, "rejected"), "at most 10.0% of all files are rejected"),
        (lambda t: reject(t, 9, "quarantined"), "at most 20.0% of all files are quarantined"),
        (lambda t: t[t["class_index"] == 0], "there are two classes"),
        (lambda t: t[t["record"] < 9], "each class has at least 5 used films"),
    ],
)
def test_a_fault_fails_the_expectation_that_names_it(
    fault: Callable[[pd.DataFrame], pd.DataFrame], sentence: str
) -> None:
    assert sentence in failed(fault(good()))


def test_a_failure_names_the_files() -> None:
    found = failed(change("width", 0)(good()))
    assert found["width is positive"] == ["class0/0002.png, 0"]


def test_only_rejected_files_fail_without_a_crash() -> None:
    assert "there are two classes" in failed(reject(good(), 40, "rejected"))


def test_the_report_is_whole_and_refers_to_nothing_outside(tmp_path: Path) -> None:
    expectations.check(good(), LIMITS, tmp_path)
    pages = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert {"index.html", "records.html", "films.html", "classes.html", "shares.html"} == set(pages)
    for page in pages.values():
        assert not re.search(r"<(script|link|img)[^>]*(src|href)=[\"']http", page)
    assert "passed" in pages["index.html"]
