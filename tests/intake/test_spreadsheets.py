import io
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knee.intake import spreadsheet
from knee.intake.spreadsheet import SheetError, read_rows

ROWS = [["path", "label"], ["a/1.png", "Normal"], ["b, c.png", "\u00d6dem"]]


def written(folder: Path, content: bytes, name: str = "sheet") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def excel(rows: list[list[Any]]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_csv_is_read_whatever_its_separator(
    tmp_path: Path, separator: str, encoding: str, newline: str
) -> None:
    lines = [separator.join(f'"{cell}"' for cell in row) for row in ROWS]
    assert read_rows(written(tmp_path, newline.join(lines).encode(encoding))) == ROWS


def test_excel_is_read_by_content_not_by_name(tmp_path: Path) -> None:
    assert read_rows(written(tmp_path, excel([*ROWS]), "sheet.csv")) == ROWS


def test_blanks_around_cells_do_not_count(tmp_path: Path) -> None:
    assert read_rows(written(tmp_path, b" path , label \n a , b \n")) == [
        ["path", "label"],
        ["a", "b"],
    ]
    assert read_rows(written(tmp_path, excel([[" path "]]))) == [["path"]]


def test_grades_in_excel_are_whole_numbers_and_empty_cells_empty(tmp_path: Path) -> None:
    rows = read_rows(
        written(tmp_path, excel([["path", "label", "age"], ["a", 2.0, 67.5], ["b", None, 1]]))
    )
    assert rows[1:] == [["a", "2", "67.5"], ["b", "", "1"]]


def test_formulas_are_never_evaluated(tmp_path: Path) -> None:
    assert read_rows(written(tmp_path, excel([["path"], ["=1+1"]]))) == [["path"], [""]]


def test_a_row_keeps_its_number_behind_blank_ones(tmp_path: Path) -> None:
    assert read_rows(written(tmp_path, b"path\n\na\n"))[2] == ["a"]


def hostile_excel(xml: bytes) -> bytes:
    source, stream = zipfile.ZipFile(io.BytesIO(excel([*ROWS]))), io.BytesIO()
    with zipfile.ZipFile(stream, "w") as package:
        for name in source.namelist():
            package.writestr(name, xml if name == "xl/worksheets/sheet1.xml" else source.read(name))
    return stream.getvalue()


LAUGHS = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><x>&b;</x>'
unusable = {
    "binary": (bytes(range(256)), "neither text nor an Excel file"),
    "old Excel": (b"\xd0\xcf\x11\xe0" + bytes(100), "save it as .xlsx without a password, or"),
    "UTF-16": ("path,label".encode("utf-16"), "is UTF-16: save it as CSV UTF-8"),
    "Latin-1": ("path\na\n\u00e9.png".encode("latin-1"), r"not UTF-8 \(line 3\)"),
    "open quote": (b'path\n"a', "line 2, is not CSV"),
    "quote inside": (b'path\n"a"b\n', "line 2, is not CSV"),
    "tab after a quote": (b'"a"b\tc\td', "'tab' expected after"),
    "huge cell": (b"path\n" + b"x" * 200_000, "is not CSV: field larger"),
    "empty zip": (b"PK\x05\x06" + bytes(18), "neither text nor an Excel file"),
    "no workbook": (b"PK\x03\x04" + bytes(100), "cannot be read as an Excel file"),
    "cut off": (excel([*ROWS])[:3000], "cannot be read as an Excel file"),
    "XML that is none": (hostile_excel(b"<x"), "cannot be read as an Excel file"),
    "entities": (hostile_excel(LAUGHS), "defines a document type"),
    "UTF-16 entities": (hostile_excel(LAUGHS.decode().encode("utf-16")), "defines a document type"),
}


@pytest.mark.parametrize("case", unusable)
def test_what_is_no_sheet_is_one_line_that_names_it(tmp_path: Path, case: str) -> None:
    content, message = unusable[case]
    with pytest.raises(SheetError, match=message) as raised:
        read_rows(written(tmp_path, content))
    assert str(tmp_path / "sheet") in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_sheet_that_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SheetError, match=r"is not a file: set data\.sheet"):
        read_rows(tmp_path / name)


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("MAXIMUM_BYTES", 8, "is larger than"),
        ("MAXIMUM_ROWS", 2, "more than 2 rows"),
        ("MAXIMUM_COLUMNS", 1, "row 1: more than 1 columns"),
        ("MAXIMUM_CELLS", 3, "more than 3 cells"),
    ],
)
def test_every_size_has_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, message: str
) -> None:
    monkeypatch.setattr(spreadsheet, limit, value)
    with pytest.raises(SheetError, match=message):
        read_rows(written(tmp_path, b"path,label\na,b\nc,d\n"))


def test_an_excel_file_that_unpacks_too_large_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spreadsheet, "MAXIMUM_UNPACKED_BYTES", 1000)
    with pytest.raises(SheetError, match="unpacks to more than"):
        read_rows(written(tmp_path, excel([*ROWS])))


@given(
    st.sampled_from([excel([*ROWS]), b"path,label\na/1.png,Normal\n"]),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damaged_bytes_give_rows_or_one_line(
    content: bytes, damages: list[tuple[int, int]]
) -> None:
    damaged = bytearray(content)
    for position, value in damages:
        damaged[position % len(damaged)] = value
    with tempfile.TemporaryDirectory() as folder:
        try:
            told = repr(read_rows(written(Path(folder), bytes(damaged))))
        except SheetError as refusal:
            told = str(refusal)
    assert "\n" not in told
