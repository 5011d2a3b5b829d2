"""A reviewer's decisions: applied as written, recorded per file, refused with the row's number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from knee.intake import label_decisions
from knee.intake.label_decisions import COLUMNS, NO_DECISIONS, DecisionError
from knee.records import conflicts, records_table
from tests.records.tables import records

CLASSES = ("class0", "class1", "class2")
ROOT = Path(__file__).parents[2]


def table() -> pd.DataFrame:
    """Images 0 and 1 are copies under two labels, 2 and 3 under one; 4 and 5 have equal pixels."""
    made = records([0, 1, 0, 0, 1, 2, 2], list(range(7)), pictures=[0, 0, 1, 1, 2, 2, 3])
    made.loc[5, "pixel_sha256"] = f"{4:064x}"
    return made


def row(image: int, decision: str, old: str, new: str = "", **changes: str) -> dict[str, str]:
    values = (f"{image:064x}", decision, old, new, "ab", "2026", "")
    return dict(zip(COLUMNS, values, strict=True)) | changes


def applied(folder: Path, *rows: dict[str, str]) -> pd.DataFrame:
    path = folder / "decisions.csv"
    pd.DataFrame(rows, columns=[*COLUMNS]).to_csv(path, index=False)
    return label_decisions.apply(table(), label_decisions.read_decisions(path), CLASSES)


def test_each_decision_is_done_and_recorded_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = applied(
        tmp_path,
        row(0, "relabel", "class0", "class1"),
        row(1, "keep", "class1"),
        row(2, "exclude", "class0"),
    )
    assert found["label"].tolist()[:4] == ["class1", "class1", "class0", "class0"]
    assert found["class_index"].tolist()[:4] == [1, 1, 0, 0]
    decisions = ["relabelled from class0", "kept", "excluded", "", "", "", ""]
    assert found["decision"].tolist() == decisions
    assert found["status"].tolist() == ["used", "used", "quarantined", *["used"] * 4]
    assert records_table.decision_counts(found) == {"kept": 1, "relabelled": 1, "excluded": 1}
    untouched = table().drop(columns=["label", "class_index", "status", "reason"])
    pd.testing.assert_frame_equal(found[untouched.columns].drop(index=2), untouched.drop(index=2))
    assert "3 decisions about labels; files: kept 1, relabelled 1, excluded 1" in caplog.text
    resolved = conflicts.resolve(found, "quarantine")  # only pixels 4 and 5 still contradict
    assert resolved.index[resolved["status"] == "quarantined"].tolist() == [2, 4, 5]


def test_an_excluded_copy_is_no_conflict_any_more(tmp_path: Path) -> None:
    found = conflicts.resolve(applied(tmp_path, row(1, "exclude", "class1")), "quarantine")
    assert found.loc[0, "status"] == "used"
    assert found.loc[1, "reason"] == "excluded by a reviewer"


def test_the_record_is_there_after_writing_and_only_where_something_was_decided(
    tmp_path: Path,
) -> None:
    file = tmp_path / "records.csv"
    records_table.write_records(applied(tmp_path, row(2, "keep", "class0")), file)
    assert records_table.read_records(file)["decision"].tolist() == ["", "", "kept", *[""] * 4]
    empty = label_decisions.read_decisions(ROOT / "conf" / NO_DECISIONS)
    same = label_decisions.apply(table(), empty, CLASSES)
    records_table.write_records(same, file)
    assert list(records_table.read_records(file)) == list(records_table.COLUMNS)
    assert records_table.decision_counts(same) == {}


MALFORMED = {
    "no digest": (row(0, "keep", "class0", pixel_sha256="0a"), "row 2: pixel_sha256 '0a' is no"),
    "no decision": (row(0, "drop", "class0"), "row 2: decision 'drop' is none of keep, relabel"),
    "nobody": (row(0, "keep", "class0", who=""), "row 2: who is empty"),
    "no date": (row(0, "keep", "class0", when=""), "row 2: when is empty"),
    "no old label": (row(0, "exclude", ""), "row 2: old_label is empty"),
    "no new label": (row(0, "relabel", "class0"), "row 2: relabel needs a new_label"),
    "the old label": (row(0, "relabel", "class0", "class0"), "row 2: relabel needs a new_label"),
    "kept as another": (row(0, "keep", "class0", "class1"), "row 2: keep needs old_label"),
    "excluded as one": (row(0, "exclude", "class0", "class1"), "row 2: exclude needs an empty"),
    "unknown class": (row(0, "relabel", "class0", "grave"), "row 2: new_label 'grave' is none of"),
    "not there": (row(9, "keep", "class0"), "row 2: no image has these pixels"),
    "changed since": (row(0, "keep", "class2"), "row 2: the label of the image is class0, not"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_row_that_is_malformed_or_stale_is_named(tmp_path: Path, case: str) -> None:
    wrong, said = MALFORMED[case]
    with pytest.raises(DecisionError) as refused:
        applied(tmp_path, wrong, row(2, "keep", "class0"))
    assert said in str(refused.value)


CONTRADICTIONS = {
    "twice": ((2, "keep", "class0"), (2, "exclude", "class0"), "rows 2 and 3 decide about one"),
    "equal pixels": ((4, "exclude", "class1"), (4, "keep", "class2"), "rows 2 and 3 decide about"),
    "copies": ((0, "keep", "class0"), (1, "keep", "class1"), "rows 2, 3 give copies of one"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_rows_that_contradict_each_other_are_named(tmp_path: Path, case: str) -> None:
    one, other, said = CONTRADICTIONS[case]
    with pytest.raises(DecisionError) as refused:
        applied(tmp_path, row(*one), row(*other))
    assert said in str(refused.value)


def test_a_class_may_not_lose_its_last_image(tmp_path: Path) -> None:
    rows = [row(4, "exclude", "class2"), row(6, "exclude", "class2")]
    with pytest.raises(DecisionError, match="leaves no image in class2"):
        applied(tmp_path, *rows)


@pytest.mark.parametrize("header", ["path,label\na,b\n", "", f"{','.join(COLUMNS)}\n"])
def test_what_is_no_table_of_decisions_is_refused(tmp_path: Path, header: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(header)
    with pytest.raises(DecisionError, match=r"expected the columns|has no decision"):
        label_decisions.read_decisions(path)


def test_a_row_of_more_cells_than_columns_is_not_read_as_another_one(tmp_path: Path) -> None:
    (tmp_path / "decisions.csv").write_text(f"{','.join(COLUMNS)}\n{'a' * 64},keep,0,,A, B,x,y\n")
    with pytest.raises(DecisionError, match="row 2: more cells than columns"):
        label_decisions.read_decisions(tmp_path / "decisions.csv")


def test_a_comment_that_would_be_a_formula_is_read_as_it_was_typed(tmp_path: Path) -> None:
    path = tmp_path / "decisions.csv"
    safe = row(0, "keep", "class0", why="'=1+1", who="'-ab")
    pd.DataFrame([safe], columns=[*COLUMNS]).to_csv(path, index=False)
    (one,) = label_decisions.read_decisions(path).rows
    assert (one.who, one.why, one.row) == ("-ab", "=1+1", 2)
    assert np.array_equal([one.new_label], ["class0"])
