"""A CSV or Excel file from a user -> rows of text.

Nothing in the file is trusted: its size is bounded, and no formula is evaluated.
"""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from stages.radiographs import excel_package

MAXIMUM_BYTES: Final = 64 * 2**20
MAXIMUM_ROWS: Final = 1_000_000
MAXIMUM_COLUMNS: Final = 1_000
MAXIMUM_CELLS: Final = 10_000_000  # an Excel file can leave out the empty ones
SEPARATORS: Final = (",", ";", "\t")
ZIP: Final = b"PK\x03\x04"
OLD_EXCEL: Final = b"\xd0\xcf\x11\xe0"
UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
Rows = list[list[str]]


class SheetError(ValueError):
    """The sheet cannot be used; the message names it and says what to do."""


def read_rows(path: Path) -> Rows:
    """Every row of the CSV file, or of the Excel file's first sheet.

    Cells are text without blanks around it. A row's place in the list is its number in a
    spreadsheet program less one.

    Raises:
        SheetError: no such file, too large, or neither CSV in UTF-8 nor .xlsx.
    """
    content = _bytes(path)
    if content.startswith(ZIP):
        rows = _excel(content, path)
    elif content.startswith(OLD_EXCEL):
        raise SheetError(
            f"{path} is an old (.xls) or encrypted Excel file: save it as .xlsx without a "
            "password, or as CSV UTF-8"
        )
    else:
        rows = _comma_separated(_text(content, path), path)
    return list(_bounded(rows, path))


def _bytes(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise SheetError(f"{path} is not a file: set data.sheet to a CSV or .xlsx file")
        if path.stat().st_size > MAXIMUM_BYTES:
            raise SheetError(
                f"{path} is larger than {MAXIMUM_BYTES >> 20} MiB: keep only the columns needed"
            )
        return path.read_bytes()
    except OSError as error:
        raise SheetError(f"{path} cannot be read: {error.strerror}") from error


def _text(content: bytes, path: Path) -> str:
    if content.startswith(UTF16):
        raise SheetError(f"{path} is UTF-16: save it as CSV UTF-8")
    if b"\0" in content:
        raise SheetError(f"{path} is neither text nor an Excel file: give a CSV or .xlsx file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SheetError(f"{path} is not UTF-8 (line {line}): save it as CSV UTF-8") from error


def _comma_separated(text: str, path: Path) -> Iterator[list[str]]:
    first = text.partition("\n")[0]
    separator = max(SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for row in reader:
            yield [cell.strip() for cell in row]
    except csv.Error as error:
        told = str(error).replace("\t", "tab")
        raise SheetError(f"{path}, line {reader.line_num}, is not CSV: {told}") from error


def _excel(content: bytes, path: Path) -> Iterator[list[str]]:
    """Rows of the first sheet; of a formula the value that was saved with it."""
    import openpyxl  # only an Excel file needs it

    try:
        excel_package.check(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions that do not matter here
            book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
            sheet = book.worksheets[0]
            sheet.reset_dimensions()  # what the file says about its size may be a lie
            for row in sheet.iter_rows(values_only=True):
                yield [_cell(value) for value in row]
    except (SheetError, GeneratorExit):
        raise
    except excel_package.PackageError as error:
        raise SheetError(
            f"{path} {error}: save it as CSV UTF-8, with the columns needed"
        ) from error
    except Exception as error:  # damaged files raise whatever the parser trips over
        kind = type(error).__name__
        raise SheetError(
            f"{path} cannot be read as an Excel file ({kind}): save it again as .xlsx or CSV UTF-8"
        ) from error


def _cell(value: Any) -> str:
    """Whole numbers without a point: a spreadsheet stores grade 2 as 2.0."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _bounded(rows: Iterable[list[str]], path: Path) -> Iterator[list[str]]:
    cells = 0
    for number, row in enumerate(rows, start=1):
        cells += len(row)
        if number > MAXIMUM_ROWS:
            raise SheetError(f"{path} has more than {MAXIMUM_ROWS} rows: split the data set")
        if len(row) > MAXIMUM_COLUMNS:
            raise SheetError(f"{path}, row {number}: more than {MAXIMUM_COLUMNS} columns")
        if cells > MAXIMUM_CELLS:
            raise SheetError(f"{path} has more than {MAXIMUM_CELLS} cells: keep the columns needed")
        yield row
