from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knee.records.records_table import (
    COLUMNS,
    RecordsError,
    class_names,
    read_records,
    write_records,
)

# Whatever may stand in a file name: separators, quotes, line ends, words that look like NaN.
names = st.one_of(
    st.sampled_from(
        [
            *("", "NA", "nan", "null", "1", "01", "1.0", " x ", 'a"b', "a,b", "a\r\nb", "\r"),
            *("=cmd()", "'=cmd()", "''=a", "'", "'a", "-1", " =a", "\t=a", "\uff1da"),
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
)


def table(rows: int, **values: Any) -> pd.DataFrame:
    nothing = {"int64": 0, "float64": float("nan"), "str": ""}
    blank = {name: [nothing[kind]] * rows for name, kind in COLUMNS.items()}
    return pd.DataFrame(blank | values).astype(COLUMNS)


@settings(deadline=None, max_examples=50)  # some names a table
@given(st.lists(names, min_size=1, max_size=5))
def test_reading_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("records") / "records.csv"
    frame = table(len(texts), source=texts, label=texts, record=list(range(len(texts))))
    write_records(frame, path)
    pd.testing.assert_frame_equal(read_records(path), frame)


def test_unknown_text_is_empty_and_not_nan(tmp_path: Path) -> None:
    write_records(table(2), tmp_path / "records.csv")
    assert read_records(tmp_path / "records.csv")["patient"].tolist() == ["", ""]


def test_columns_are_written_in_the_order_of_the_schema(tmp_path: Path) -> None:
    frame = table(1)
    write_records(frame[list(reversed(COLUMNS))], tmp_path / "records.csv")
    assert (tmp_path / "records.csv").read_text().splitlines()[0] == ",".join(
        f'"{name}"' for name in COLUMNS
    )


def test_nothing_but_the_table_is_left_in_its_folder(tmp_path: Path) -> None:
    write_records(table(1), tmp_path / "new" / "records.csv")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["records.csv"]


def test_missing_table_names_the_stage_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="run the ingest stage"):
        read_records(tmp_path / "records.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("record,source\n0,a\n", "missing columns.*'bytes'"),
        (",".join([*COLUMNS, "extra"]) + "\n", "unknown columns.*'extra'"),
        (",".join(COLUMNS) + "\n" + ",".join("x" for _ in COLUMNS) + "\n", "not a records table"),
        (",".join(COLUMNS) + "\n" + ",".join(str(10**30) for _ in COLUMNS) + "\n", "not a records"),
        ("", "not a records table"),
    ],
)
def test_another_table_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "records.csv").write_text(content)
    with pytest.raises(RecordsError, match=message):
        read_records(tmp_path / "records.csv")


def test_writing_refuses_a_frame_without_all_columns(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="sha256"):
        write_records(table(1).drop(columns="sha256"), tmp_path / "records.csv")
    assert not (tmp_path / "records.csv").exists()


def test_class_names_follow_the_index_and_leave_out_files_without_class() -> None:
    frame = table(4, label=["b", "", "a", "b"], class_index=[0, -1, 1, 0])
    assert class_names(frame) == ["b", "a"]


@pytest.mark.parametrize("index", [[0, 0], [0, 2]])
def test_class_names_refuse_an_index_that_is_not_one_to_one(index: list[int]) -> None:
    with pytest.raises(RecordsError, match="class_index"):
        class_names(table(2, label=["a", "b"], class_index=index))
