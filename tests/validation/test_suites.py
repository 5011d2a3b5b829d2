"""The engine: what is not asked for is not run, and what fails is told."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from knee.validation.suites import Index, Suite, Table, complaint, expect, run, summary
from tests import browser

FRAME = pd.DataFrame({"name": ["<b>a", "b"], "size": [1, -1]})


def positive(*, asked: bool) -> dict[str, Suite]:
    between = expect("ColumnValuesToBeBetween", "size is positive", column="size", min_value=0)
    return {"sizes": Suite(FRAME, "name", [between], asked=asked)}


def test_a_suite_that_is_not_asked_for_is_listed_and_not_run(tmp_path: Path) -> None:
    outcomes = run(positive(asked=False), tmp_path, Index("Sizes", ["two rows"]))
    assert summary(outcomes) == {
        "expectations": {"evaluated": 0, "failed": 0},
        "failed": [],
        "not_asked": ["size is positive"],
    }
    assert complaint(outcomes, "mend it") is None
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    assert "<td>not asked</td>" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_failure_is_told_with_its_rows_and_a_remedy(tmp_path: Path) -> None:
    outcomes = run(positive(asked=True), tmp_path, Index("Sizes <i>", ["two <i> rows"]))
    assert summary(outcomes)["expectations"] == {"evaluated": 1, "failed": 1}
    text = complaint(outcomes, "mend it")
    assert text is not None
    assert text.splitlines()[1:] == [
        "  not true: size is positive (for example b: size -1)",
        "mend it",
    ]
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "<td>b: size -1</td>" in page
    assert "<i>" not in page


def test_the_page_of_a_suite_tells_its_rule_what_was_observed_and_what_fails(
    tmp_path: Path,
) -> None:
    run(positive(asked=True), tmp_path, Index("Sizes", []))
    page = (tmp_path / "sizes.html").read_text(encoding="utf-8")
    assert "expect_column_values_to_be_between" in page
    assert "min_value: 0" in page
    assert "1 of 2 rows unexpected, 0 empty" in page
    assert "<td>b: size -1</td>" in page


def test_an_expectation_that_cannot_be_checked_fails_and_says_why(tmp_path: Path) -> None:
    missing = expect("ColumnValuesToBeUnique", "no twins", column="weight")
    outcomes = run({"sizes": Suite(FRAME, "name", [missing])}, tmp_path, Index("Sizes", []))
    assert [outcome["success"] for outcome in outcomes] == [False]
    page = (tmp_path / "sizes.html").read_text(encoding="utf-8")
    assert re.search("weight.* does not exist", page)


@pytest.mark.skipif(browser.program() is None, reason="Chromium is not installed")
def test_the_pages_fit_a_phone(tmp_path: Path) -> None:
    long = Table("Files", ("file", "reason"), [["a" * 255, "b" * 255]])
    run(positive(asked=True), tmp_path, Index("Sizes", [], [long]))
    assert {file.name: browser.overflow(file) for file in tmp_path.iterdir()} == {
        "index.html": 0,
        "sizes.html": 0,
    }
