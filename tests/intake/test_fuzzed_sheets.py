"""Sheets of any bytes, and sheets that are nearly right: rows, or one line that says what is wrong.

`--hypothesis-profile=hostile` tries many more examples (tests/conftest.py).
"""

from __future__ import annotations

import io
import math
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from knee.intake.label_sheet import Row, read_sheet
from knee.intake.sheet_columns import COLUMNS
from knee.intake.spreadsheet import SheetError, read_rows
from tests.intake.test_spreadsheets import LAUGHS, ROWS, excel

MOST_SECONDS = 60.0  # of processor time, on a slow machine
MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
Read = TypeVar("Read")
WHO = ["Normal", "Osteopenia", "Osteoporosis"]


def check(content: bytes) -> None:
    """Text cells, or SheetError in one line that names the file; and what is made of them."""
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sheet"
        path.write_bytes(content)
        rows = or_one_line(path, lambda: read_rows(path)) or []
        assert all(isinstance(cell, str) for row in rows for cell in row)
        for classes in ([], WHO):
            sheet = or_one_line(path, lambda: read_sheet(path, classes, bytes(32)))  # noqa: B023
            check_facts(sheet.rows if sheet else ())
    assert time.process_time() - start < MOST_SECONDS


def or_one_line(path: Path, read: Callable[[], Read]) -> Read | None:
    """What is read; None where one line tells why nothing is."""
    try:
        return read()
    except SheetError as refusal:
        told = str(refusal)
    assert str(path) in told
    assert told.isprintable()
    return None


def check_facts(rows: Sequence[Row]) -> None:
    for row in rows:
        assert row.path
        assert row.facts["side"] in ("", "left", "right")
        assert row.facts["sex"] in ("", "F", "M")
        assert not math.isinf(row.facts["t_score"])
        assert math.isnan(row.facts["age_years"]) or 0 <= row.facts["age_years"] <= 90
        assert set(row.facts["patient"]) <= set("0123456789abcdef")


numbers = st.sampled_from(
    ["0", "-2,5", "\N{MINUS SIGN}1", "1e999", "nan", "inf", "067Y", "1_0", "\u0663", "9" * 400]
)
texts = st.text(max_size=12) | st.sampled_from(
    [
        "a/1.png",
        "..\\a",
        "Normal",
        "=1+1",
        '"',
        '""',
        "\0",
        "\r",
        "\n",
        "\x85",
        "\u2028",
        "x" * 140_000,
    ]
)
cells = numbers | texts
columns = st.sampled_from([*COLUMNS, "PATH", " Label ", "", "unknown"]) | st.text(max_size=4)
encodings = st.sampled_from(
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "utf-7", "cp037"]
)


@st.composite
def nearly_csv(draw: st.DrawFn) -> bytes:
    separator = draw(st.sampled_from([",", ";", "\t", "|"]))
    quote = draw(st.sampled_from(["", '"', "'", '""']))
    newline = draw(st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\0\n"]))
    header = ["path", *draw(st.lists(columns, max_size=9))]
    rows = draw(st.lists(st.lists(cells, max_size=len(header) + 1), max_size=6))
    lines = (separator.join(f"{quote}{cell}{quote}" for cell in row) for row in [header, *rows])
    text = newline.join(lines) + draw(st.sampled_from(["", newline, '"']))
    encoding = draw(encodings)
    errors = ("replace", "surrogatepass") if encoding.startswith("utf-") else ("replace",)
    return text.encode(encoding, draw(st.sampled_from(errors)))


references = st.sampled_from(
    ["", "A1", "A0", "XFD1", "ZZZZ1", "A1048577", "A99999999999", "a1", "1A", "$A$1", "A1:B2", "-1"]
)
values = st.sampled_from(
    ["", "0", "-1", "1e999", "nan", "99999999", "-99999999", "2958466", "0.5", "x", "TRUE", "#N/A"]
) | st.text(st.characters(exclude_characters="<&>", exclude_categories=("Cs", "Cc")), max_size=5)
kinds = st.sampled_from(["", "s", "n", "b", "e", "d", "str", "inlineStr", "x"])


@st.composite
def worksheet(draw: st.DrawFn) -> bytes:
    rows = []
    for _ in range(draw(st.integers(0, 4))):
        made = [
            f'<c r="{draw(references)}" t="{draw(kinds)}" s="{draw(values)}">'
            f"{draw(st.sampled_from(['', '<f>1+1</f>', '<is><t>a</t></is>', '<is/>', '<c/>']))}"
            f"<v>{draw(values)}</v></c>"
            for _ in range(draw(st.integers(0, 3)))
        ]
        number = draw(st.sampled_from(["", ' r="1"', ' r="0"', ' r="-5"', ' r="x"', ' r="3000"']))
        rows.append(f"<row{number}>{''.join(made)}</row>")
    extra = draw(st.sampled_from(["", '<dimension ref="A1:XFD9"/>', "<mergeCells/>", "<row/>"]))
    return f"<worksheet {MAIN}>{extra}<sheetData>{''.join(rows)}</sheetData></worksheet>".encode()


strings = st.lists(values, max_size=4).map(
    lambda texts: (
        f"<sst {MAIN}>{''.join(f'<si><t>{text}</t></si>' for text in texts)}</sst>".encode()
    )
)
relations = st.sampled_from(
    ["/etc/passwd", "../../../etc/passwd", "worksheets/sheet1.xml", "", "file:///etc/passwd", "x"]
).flatmap(
    lambda target: st.sampled_from(
        [
            f'<Relationships xmlns="{RELATIONS}"><Relationship Id="rId1" Type="{RELATIONS}/{kind}" '
            f'Target="{target}" TargetMode="{mode}"/></Relationships>'.encode()
            for kind in ("worksheet", "styles", "externalLink")
            for mode in ("Internal", "External")
        ]
    )
)
odd_xml = st.sampled_from(
    [
        *(
            LAUGHS,
            LAUGHS.decode().encode("utf-16"),
            b"",
            b"<x",
            b"<x/>",
            b"\xff\xfe<\0",
            b"<a>" * 5000,
        ),
        b'<?xml version="1.0" encoding="utf-7"?><x/>',
        b'<?xml version="1.0"?><!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>',
        f"<worksheet {MAIN}><sheetData>{'<row/>' * 3000}</sheetData></worksheet>".encode(),
        f'<x a="{"y" * 100_000}"/>'.encode(),
    ]
)
NAMES = tuple(zipfile.ZipFile(io.BytesIO(excel([*ROWS]))).namelist())


@st.composite
def nearly_excel(draw: st.DrawFn) -> bytes:
    with zipfile.ZipFile(io.BytesIO(excel([*ROWS, ["a", 1.5, 45_000]]))) as whole:
        parts = {name: whole.read(name) for name in NAMES}
    if draw(st.booleans()):
        parts["xl/worksheets/sheet1.xml"] = draw(worksheet())
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(NAMES))
        change = odd_xml | worksheet() | strings | relations | st.binary(max_size=40) | st.none()
        other = draw(change)
        if other is None:
            parts.pop(name, None)
        else:
            parts[name] = other
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as package:
        for name, content in parts.items():
            package.writestr(zipfile.ZipInfo(name), content)
    made = bytearray(stream.getvalue())
    for position, value in draw(
        st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=3)
    ):
        made[position % len(made)] = value
    return bytes(made)


@given(
    st.binary(max_size=2000),
    st.sampled_from([b"", b"PK\x03\x04", b"path,label\n", b"\xef\xbb\xbf"]),
)
def test_any_bytes_give_rows_or_one_line(content: bytes, start: bytes) -> None:
    check(start + content)


@given(nearly_csv())
def test_text_that_is_nearly_csv_gives_rows_or_one_line(content: bytes) -> None:
    check(content)


@given(nearly_excel())
def test_a_zip_that_is_nearly_excel_gives_rows_or_one_line(content: bytes) -> None:
    check(content)
