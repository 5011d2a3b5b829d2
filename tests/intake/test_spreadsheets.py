import io
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl.chart import BarChart

from knee.intake import spreadsheet
from knee.intake.spreadsheet import (
    UNSAVED,
    PackageError,
    SheetError,
    check_package,
    read_rows,
)
from knee.storage import artifacts

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


def test_texts_that_would_be_formulas_are_read_as_they_were_before_the_project_wrote_them(
    tmp_path: Path,
) -> None:
    table = pd.DataFrame({"path": ["-1.png", "'=2.png", "+", "'3.png"], "t_score": "-2.5"})
    rows = read_rows(written(tmp_path, artifacts.as_csv(table).encode()))
    assert rows == [[*table.columns], *table.to_numpy().tolist()]


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


def with_saved(cell: bytes) -> bytes:
    """A whole Excel file whose A2 is `cell`, as a spreadsheet program writes it."""
    source = zipfile.ZipFile(io.BytesIO(excel([["path"], ["=1+1"]]))).read(SHEET)
    start, end = source.index(b'<c r="A2"'), source.rindex(b"</c>") + 4
    return hostile_excel(source[:start] + cell + source[end:])


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (b'<c r="A2"><f>1+1</f><v>3</v></c>', "3"),  # never evaluated
        (b'<c r="A2" t="str"><f>"a"</f><v>a</v></c>', "a"),
        (b'<c r="A2" t="str"><f>""</f><v></v></c>', ""),  # its value is an empty text
        (b'<c r="A2" t="b"><f>1=1</f><v>1</v></c>', "TRUE"),
        (b'<c r="A2" t="e"><f>1/0</f><v>#DIV/0!</v></c>', "#DIV/0!"),
        (b'<c r="A2"><f>1+1</f><v></v></c>', UNSAVED),
        (b'<c r="A2"><f>1+1</f></c>', UNSAVED),
    ],
)
def test_of_a_formula_the_saved_value_is_read(tmp_path: Path, cell: bytes, text: str) -> None:
    assert read_rows(written(tmp_path, with_saved(cell))) == [["path"], [text]]


def test_a_formula_that_a_program_wrote_has_no_value(tmp_path: Path) -> None:
    assert read_rows(written(tmp_path, excel([["path"], ["=1+1"]])))[1] == [UNSAVED]


def workbook(*sheets: tuple[str, str, str]) -> bytes:
    """Worksheets by title, state and text of their first cell; one without text is a chart's."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, state, text in sheets:
        made = book.create_sheet(title) if text else book.create_chartsheet(title)
        made.sheet_state = state
        if text:
            made.append([text])
        else:
            made.add_chart(BarChart())
    book.active = next((n for n, one in enumerate(sheets) if one[1] == "visible"), 0)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


@pytest.mark.parametrize("state", ["hidden", "veryHidden"])
@pytest.mark.parametrize("before", ["2024", ""])
def test_the_first_visible_worksheet_is_read_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, state: str, before: str
) -> None:
    content = workbook(
        ("old", state, before), ("new", "visible", "2025"), ("more", "visible", "2023")
    )
    with caplog.at_level("INFO"):
        assert read_rows(written(tmp_path, content)) == [["2025"]]
    others = "'old', 'more'" if before else "'more'"
    assert f"worksheet 'new' is read, and of {others} nothing" in caplog.text


def test_hidden_rows_are_read_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    book = openpyxl.Workbook()
    for row in ROWS:
        book.active.append(row)
    book.active.row_dimensions[2].hidden = True
    book.save(tmp_path / "sheet")
    assert read_rows(tmp_path / "sheet") == ROWS
    assert "hidden rows, which are read as others: 1" in caplog.text


def test_a_workbook_without_a_visible_worksheet_is_refused(tmp_path: Path) -> None:
    content = workbook(("old", "hidden", "2024"), ("chart", "visible", ""))
    with pytest.raises(SheetError, match="has no visible worksheet: unhide the one with"):
        read_rows(written(tmp_path, content))


def test_two_visible_worksheets_with_paths_are_refused_and_one_hidden_is_none(
    tmp_path: Path,
) -> None:
    train, test, note = (
        ("train", "visible", "path"),
        ("test", "visible", "Path:"),
        ("1", "visible", "x"),
    )
    with pytest.raises(SheetError, match="several worksheets with a column path, 'train', 'test'"):
        read_rows(written(tmp_path, workbook(note, train, test)))
    content = workbook(train, ("test", "hidden", "path"), note)
    assert read_rows(written(tmp_path, content)) == [["path"]]


def test_a_first_visible_worksheet_without_paths_is_refused_where_another_has_them(
    tmp_path: Path,
) -> None:
    content = workbook(("Read me", "visible", "Notes"), ("Labels", "visible", "path"))
    with pytest.raises(SheetError, match=r"begins with worksheet 'Read me'.*: move 'Labels' to"):
        read_rows(written(tmp_path, content))
    content = workbook(("Read me", "hidden", "Notes"), ("Labels", "visible", "path"))
    assert read_rows(written(tmp_path, content)) == [["path"]]


@pytest.mark.parametrize("around", [" ", "\u00a0", "\u3000", "\ufeff", "\u200b", "\u2060 ", "\t"])
def test_no_blank_or_invisible_character_stays_around_a_cell(tmp_path: Path, around: str) -> None:
    assert read_rows(written(tmp_path, excel([[f"{around}a b{around}"]]))) == [["a b"]]
    content = f'"{around}a b{around}"\n'.encode()
    assert read_rows(written(tmp_path, content)) == [["a b"]]


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


MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
SHEET, STYLES = "xl/worksheets/sheet1.xml", "xl/styles.xml"

MANY = " ".join(f'a{number}="1"' for number in range(1100))


def package(name: str, xml: str) -> bytes:
    """A whole Excel file with another part."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(excel([*ROWS]))) as whole,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made,
    ):
        for each in whole.namelist():
            made.writestr(each, xml if each == name else whole.read(each))
        if name not in whole.namelist():
            made.writestr(name, xml)
    return stream.getvalue()


def sheet(rows: str) -> str:
    return f"<worksheet {MAIN}><sheetData>{rows}</sheetData></worksheet>"


def test_a_whole_file_passes() -> None:
    check_package(excel([*ROWS]))


def test_many_rows_pass() -> None:
    row = "<row>" + "<c><v>1</v></c>" * 8 + "</row>"
    check_package(package(SHEET, sheet(row * 20_000)))  # 340,000 elements, 17 at once


@pytest.mark.parametrize(
    ("part", "xml"),
    [
        (SHEET, sheet("<row>" + "<c/>" * 250_000 + "</row>")),
        (STYLES, f"<styleSheet {MAIN}><fonts>{'<font/>' * 250_000}</fonts></styleSheet>"),
        (STYLES, f"<styleSheet {MAIN}>{'<row/>' * 250_000}</styleSheet>"),
        (SHEET, sheet("<x><row/></x>" * 150_000)),  # rows that are no rows
        ("xl/other.bin", f"<a>{'<b/>' * 250_000}</a>"),
    ],
)
def test_what_a_parser_would_hold_as_a_whole_is_bounded(part: str, xml: str) -> None:
    content = package(part, xml)
    assert len(content) < 100_000
    start = time.process_time()
    with pytest.raises(PackageError, match="elements in one row or part"):
        check_package(content)
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (sheet("<row>" * 100 + "</row>" * 100), "elements within elements"),
        (sheet(f"<row {MANY}/>"), "beyond any use"),
        (sheet(f"<row><c><v>{'1' * 1_100_000}</v></c></row>"), "a text of more than"),
    ],
)
def test_depth_attributes_and_texts_are_bounded(xml: str, message: str) -> None:
    with pytest.raises(PackageError, match=message):
        check_package(package(SHEET, xml))


@pytest.mark.parametrize(
    ("limit", "message"),
    [("MAXIMUM_ELEMENTS", "more than 3 elements"), ("MAXIMUM_MEMBERS", "more than 3 parts")],
)
def test_all_parts_together_are_bounded(
    monkeypatch: pytest.MonkeyPatch, limit: str, message: str
) -> None:
    monkeypatch.setattr(spreadsheet, limit, 3)
    with pytest.raises(PackageError, match=message):
        check_package(excel([*ROWS]))


def test_a_document_type_is_refused_whatever_the_part_is_called() -> None:
    with pytest.raises(PackageError, match="document type"):
        check_package(package("xl/media/image1.png", "<!DOCTYPE x><x/>"))


def test_pictures_in_a_file_are_no_fault() -> None:
    check_package(package("xl/media/image1.png", "\x89PNG\r\n"))
