"""What is expected of records: good ones pass, each fault fails by name."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from knee.records import records_table
from knee.validation import records_suite
from tests.records.tables import records

LIMITS = records_suite.Thresholds(5, 0.1, 0.2, 0.1, 0.3, 0.25)


def good() -> pd.DataFrame:
    """40 films in two classes."""
    return records([n % 2 for n in range(40)], list(range(40)))


def failed(table: pd.DataFrame) -> dict[str, list[str]]:
    """Failed expectations with their examples."""
    outcomes = records_suite.check(table, LIMITS, None)
    return {one["expectation"]: one["examples"] for one in outcomes if not one["success"]}


def reject(table: pd.DataFrame, count: int, status: str) -> pd.DataFrame:
    table.loc[: count - 1, "status"] = status
    if status == "rejected":
        table.loc[: count - 1, ["pixel_row", "picture", "group"]] = -1
    return table


def change(column: str, value: float | str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Put `value` into the third row."""

    def put(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[2, column] = value
        return table

    return put


def conflict(table: pd.DataFrame) -> pd.DataFrame:
    """Half of the pictures stand under both classes."""
    return table.assign(picture=table["record"] // 2)


def test_measurements_within_their_ranges_are_met() -> None:
    table = good().assign(pixel_spacing_mm=0.15, age_years=90.0, t_score=-2.5, bits=16)
    assert not failed(table.assign(border_top=4, border_bottom=5, side="left", sex="F"))


def test_good_records_meet_every_expectation() -> None:
    assert not failed(good())


ROWS: list[tuple[str, float | str, str]] = [
    ("source", "class1/0001.png", "each file has its own source"),
    ("record", 3, "each file has its own record"),
    ("status", "lost", "each file is used, quarantined, rejected or unlisted"),
    ("status", "quarantined", "each file set aside has a reason"),
    ("sha256", "none", "sha256 is 64 hex digits"),
    ("pixel_row", 1, "each film has pixels of its own"),
    ("group", -1, "each film has a group"),
    ("width", 0, "width is positive"),
    ("label", "", "each film has a label"),
    ("bits", 0, "bits is 1-32"),
    ("bits", 33, "bits is 1-32"),
    ("pixel_spacing_mm", 0.0, "pixel_spacing_mm is positive, or unknown"),
    ("pixel_spacing_mm", -0.1, "pixel_spacing_mm is positive, or unknown"),
    ("border_left", -1, "border_left is not negative"),
    ("border_top", 10, "height_without_borders is positive"),
    ("border_right", 10, "width_without_borders is positive"),
    ("side", "both", "side is left, right or unknown"),
    ("sex", "X", "sex is F, M or unknown"),
    ("age_years", 91.0, "age_years is 0-90, or unknown"),
    ("age_years", -1.0, "age_years is 0-90, or unknown"),
    ("t_score", -30.0, "t_score is within 12 of 0, or unknown"),
]


@pytest.fixture(scope="module")
def found_in_rows() -> dict[str, list[str]]:
    """What fails where rows 10, 11, ... have one fault each."""
    table = good()
    for row, (column, value, _) in enumerate(ROWS, start=10):
        table.loc[row, column] = value
    return failed(table)


@pytest.mark.parametrize("row", range(10, 10 + len(ROWS)))
def test_a_fault_of_a_row_fails_the_expectation_that_names_it(
    found_in_rows: dict[str, list[str]], row: int
) -> None:
    column, value, sentence = ROWS[row - 10]
    source = str(value) if column == "source" else f"class{row % 2}/{row:04d}.png"
    assert any(example.startswith(source) for example in found_in_rows[sentence])


def test_nothing_else_fails_for_these_rows(found_in_rows: dict[str, list[str]]) -> None:
    """A label that is "" has a class_index of its own."""
    others = {"each class has at least 5 used films", "each class_index has one label"}
    assert set(found_in_rows) - {sentence for _, _, sentence in ROWS} <= {
        *others,
        "width_without_borders is positive",
    }


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (lambda t: t.assign(extra=1), "the columns are as agreed"),
        (conflict, "at most 0.1 of all radiographs have several labels"),
        (lambda t: t[:0], "there is at least one file"),
        (lambda t: t[t["class_index"] == 0], "there are two or more classes"),
        (lambda t: t.assign(status="quarantined"), "each class has at least 5 used films"),
        (lambda t: t[t["record"] < 9], "each class has at least 5 used films"),
    ],
)
def test_a_fault_of_the_whole_fails_the_expectation_that_names_it(
    fault: Callable[[pd.DataFrame], pd.DataFrame], sentence: str
) -> None:
    assert sentence in failed(fault(good()))


def test_mixed_up_classes_and_large_shares_that_are_set_aside_fail_by_name() -> None:
    """Of 40 files 5 are rejected and 9 quarantined; one has another class's label or index."""
    table = reject(good(), 14, "quarantined")
    table = reject(table, 5, "rejected")
    table.loc[20, "label"] = "class1"
    assert failed(table).keys() >= {
        "each label has one class_index",
        "each class_index has one label",
        "at most 0.1 of all files are rejected",
        "at most 0.2 of all files are quarantined",
    }


@pytest.mark.parametrize(("images", "fails"), [(12, False), (13, True), (40, True)])
def test_a_number_that_too_many_images_share_is_called_a_placeholder(
    images: int, fails: bool
) -> None:
    table = good()
    table["patient"] = [f"{n:016x}" for n in table["record"]]
    table.loc[: images - 1, "patient"] = "f" * 16
    said = " ".join(failed(table))
    assert ("have the same patient number" in said) == fails
    assert ("data.patient_placeholders" in said) == fails


@pytest.mark.parametrize(("images", "fails"), [(10, False), (11, True)])
def test_notes_of_too_many_images_fail(images: int, fails: bool) -> None:
    table = good()
    table.loc[: images - 1, "note"] = "polarity: doubtful"
    sentence = "at most 0.25 of all images have a note of a doubt"
    assert (sentence in failed(table)) == fails


def test_a_failure_names_the_files() -> None:
    found = failed(change("width", 0)(good()))
    assert found["width is positive"] == ["class0/0002.png: width 0"]


def test_a_failure_names_five_files_at_most() -> None:
    found = failed(good().assign(width=0))
    assert found["width is positive"] == [f"class{n % 2}/{n:04d}.png: width 0" for n in range(5)]


def test_a_class_whose_films_are_all_set_aside_is_named() -> None:
    table = good()
    table.loc[table["class_index"] == 1, ["status", "reason"]] = ["quarantined", "because"]
    assert failed(table)["each class has at least 5 used films"] == ["class1: images 0"]


def test_only_rejected_files_fail_without_a_crash() -> None:
    assert "each class has at least 5 used films" in failed(reject(good(), 40, "rejected"))


def test_the_report_is_whole_and_refers_to_nothing_outside(tmp_path: Path) -> None:
    records_suite.check(good(), LIMITS, tmp_path)
    pages = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    suites = ("records", "set_aside", "films", "classes", "shares")
    assert set(pages) == {"index.html", *(f"{suite}.html" for suite in suites)}
    for page in pages.values():
        assert not re.search(r"<(script|link|img|iframe)\b", page)
        assert "default-src 'none'" in page
        links = set(re.findall(r'<a href="([^"#]*\.html)"', page))
        assert "../index.html" in links  # the way back
        assert links <= {*pages, "../index.html"}
    assert ">FAILED<" not in pages["index.html"]


def test_file_names_cannot_put_markup_into_the_report(tmp_path: Path) -> None:
    table = change("source", "class0/<script>alert(1)</script>.png")(good())
    records_suite.check(change("width", 0)(table), LIMITS, tmp_path)
    for name in ("index", "films"):
        page = (tmp_path / f"{name}.html").read_text(encoding="utf-8")
        assert "<script" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_the_report_lists_files_set_aside_with_their_reasons(tmp_path: Path) -> None:
    table = reject(good(), 2, "rejected")
    table.loc[:1, "reason"] = "image file is truncated"
    records_suite.check(table, LIMITS, tmp_path)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    row = "<td>class0/0000.png</td><td>rejected</td><td>image file is truncated</td>"
    assert row in page


def test_reasons_are_grouped_with_rejected_ones_first() -> None:
    table = good()
    table.loc[:4, ["status", "reason"]] = ["quarantined", "two labels"]
    table.loc[5:6, ["status", "reason"]] = ["rejected", "too large"]
    table.loc[7:9, ["status", "reason"]] = ["rejected", "truncated"]
    found = [(one.status, one.reason, one.count) for one in records_table.reasons(table)]
    rejected = [("rejected", "truncated", 3), ("rejected", "too large", 2)]
    assert found == [*rejected, ("quarantined", "two labels", 5)]
    first = records_table.reasons(table)[0].examples
    assert first == ("class1/0007.png", "class0/0008.png", "class1/0009.png")


def test_no_connection_is_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[object] = []

    def refuse(_: socket.socket, address: object) -> None:
        opened.append(address)
        raise OSError("no network here")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    records_suite.check(good(), LIMITS, tmp_path)
    assert opened == []
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"
