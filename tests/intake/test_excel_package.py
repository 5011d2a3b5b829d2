import io
import time
import zipfile

import pytest

from knee.intake import spreadsheet
from knee.intake.spreadsheet import PackageError, check_package
from tests.intake.test_spreadsheets import ROWS, excel

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
