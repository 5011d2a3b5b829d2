"""A CSV or Excel file from a user to rows of text.

Nothing in the file is trusted: its size is bounded, and no formula is evaluated. An Excel file, a
zip of XML, goes to its parser only after one pass over its size and shape.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import logging
import unicodedata
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final
from xml.parsers import expat

from knee.run.errors import UserError
from knee.run.messages import listed, quoted
from knee.storage.artifacts import MADE_TEXT

MAXIMUM_BYTES: Final = 64 * 2**20
MAXIMUM_ROWS: Final = 1_000_000
MAXIMUM_COLUMNS: Final = 1_000
MAXIMUM_CELLS: Final = 10_000_000  # an Excel file can leave out the empty ones
# Of an Excel file, before it is parsed.
MAXIMUM_UNPACKED_BYTES: Final = 256 * 2**20
MAXIMUM_MEMBERS: Final = 10_000
MAXIMUM_ELEMENTS: Final = 10_000_000  # of all parts: 400,000 rows of eight columns are 7 million
ELEMENTS_AT_ONCE: Final = 200_000  # in a row, or in a part without rows, which is held as a whole
MAXIMUM_DEPTH: Final = 64
MAXIMUM_ATTRIBUTES: Final = 1000
MAXIMUM_CHARACTERS: Final = 2**20  # of an element's text; a cell holds 32,767
STREAMED: Final = {("worksheet", "row"): 3, ("sst", "si"): 2}  # part and element: its depth
CHUNK_BYTES: Final = 1 << 18
SEPARATORS: Final = (",", ";", "\t")
ZIP: Final = b"PK\x03\x04"
OLD_EXCEL: Final = b"\xd0\xcf\x11\xe0"
UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
PATH_COLUMN: Final = "path"  # the one that a table of files has
UNSAVED: Final = "a formula without a saved value"  # in place of its cell's text
INVISIBLE: Final = "\ufeff\u200b\u2060"  # around texts that come from web pages
log = logging.getLogger(__name__)


class SheetError(UserError):
    """The sheet cannot be used; the message names it and says what to do."""


class PackageError(UserError):
    """The file must not be parsed; the message says why, without quoting it."""


def read_rows(path: Path) -> list[list[str]]:
    """Return every row of a CSV file, or of an Excel file's first visible worksheet.

    Cells are text without blanks around it, as it was before `artifacts.as_csv`; `UNSAVED` where a
    program wrote a formula without calculating it. A row's place in the list is its number in a
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
        rows = _comma_separated(content, path)
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


def _comma_separated(content: bytes, path: Path) -> Iterator[list[str]]:
    if content.startswith(UTF16):
        raise SheetError(f"{path} is UTF-16: save it as CSV UTF-8")
    if b"\0" in content:
        raise SheetError(f"{path} is neither text nor an Excel file: give a CSV or .xlsx file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SheetError(f"{path} is not UTF-8 (line {line}): save it as CSV UTF-8") from error
    first = text.partition("\n")[0]
    separator = max(SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for row in reader:
            yield [_text(cell) for cell in row]
    except csv.Error as error:
        cause = str(error).replace("\t", "tab")
        raise SheetError(f"{path}, line {reader.line_num}, is not CSV: {cause}") from error


def _excel(content: bytes, path: Path) -> Iterator[list[str]]:
    """Rows of the worksheet of files; of a formula the value that was saved with it."""
    try:
        package = check_package(content)
        if package.hidden_rows:
            log.warning("%s: hidden rows, which are read as others: %d", path, package.hidden_rows)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions that do not matter here
            sheet = _worksheet(_book(content), path)
            if not package.formulas:
                for row in sheet.iter_rows(values_only=True):
                    yield [_cell(value) for value in row]
                return
            formulas = _book(content, values=False)[sheet.title]
            formulas.reset_dimensions()
            for cells, written in zip(sheet.iter_rows(), formulas.iter_rows(), strict=True):
                yield [
                    UNSAVED if _is_unsaved(cell, formula) else _cell(cell.value)
                    for cell, formula in zip(cells, written, strict=True)
                ]
    except SheetError:
        raise
    except PackageError as error:
        raise SheetError(
            f"{path} {error}: save it as CSV UTF-8, with the columns needed"
        ) from error
    except Exception as error:  # damaged files raise whatever the parser trips over
        kind = type(error).__name__
        raise SheetError(
            f"{path} cannot be read as an Excel file ({kind}): save it again as .xlsx or CSV UTF-8"
        ) from error


def _book(content: bytes, *, values: bool = True) -> Any:
    """The workbook with the saved values, or else the formulas."""
    import openpyxl  # only an Excel file needs it

    return openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=values)


def _worksheet(book: Any, path: Path) -> Any:
    """The first visible worksheet, which no other one with a column of paths may follow."""
    visible = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
    if not visible:
        raise SheetError(f"{path} has no visible worksheet: unhide the one with the labels")
    tables = [sheet for sheet in visible if _lists_files(sheet)]
    if len(tables) > 1:
        titles = listed([quoted(sheet.title) for sheet in tables])
        raise SheetError(
            f"{path} has several worksheets with a column {PATH_COLUMN}, {titles}: put all "
            "rows into one, or hide those that are not meant"
        )
    chosen = visible[0]
    if tables and tables[0] is not chosen:
        raise SheetError(
            f"{path} begins with worksheet {quoted(chosen.title)}, which has no column "
            f"{PATH_COLUMN}: move {quoted(tables[0].title)} to the front, or hide the others"
        )
    others = [quoted(sheet.title) for sheet in book.worksheets if sheet is not chosen]
    unread = f", and of {listed(others)} nothing" if others else ""
    log.info("%s: worksheet %s is read%s", path, quoted(chosen.title), unread)
    chosen.reset_dimensions()
    return chosen


def _lists_files(sheet: Any) -> bool:
    """Whether the first row that is not blank has a column of paths."""
    sheet.reset_dimensions()  # what the file says about its size may be a lie
    rows = ([_cell(v) for v in row] for row in sheet.iter_rows(max_row=20, values_only=True))
    first = next(filter(any, rows), [])
    return PATH_COLUMN in (name_letters(cell) for cell in first)


def name_letters(text: str) -> str:
    """Return letters and digits of a column's name: "T-Score" and "t_score" are tscore."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(letter for letter in plain if letter.isalnum())


def _is_unsaved(cell: Any, formula: Any) -> bool:
    """Whether the cell is a formula without a value; one of an empty text is of another type."""
    return bool(formula.data_type == "f" and cell.value is None and cell.data_type == "n")


@dataclasses.dataclass
class Package:
    """What one pass over an Excel file has found in its worksheets."""

    formulas: bool = False  # one or more
    hidden_rows: int = 0  # by hand or by a filter


def check_package(content: bytes) -> Package:
    """Return what has to be known of an Excel file before it is parsed.

    Files with XML entities, or larger than a sheet of labels can be, are refused.

    Raises:
        PackageError: it must not be parsed.
        BadZipFile, and whatever zipfile trips over: damaged files.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        members = package.infolist()
        # zipfile never gives more of a member than its header says.
        if sum(member.file_size for member in members) > MAXIMUM_UNPACKED_BYTES:
            raise PackageError(f"unpacks to more than {MAXIMUM_UNPACKED_BYTES >> 20} MiB")
        if len(members) > MAXIMUM_MEMBERS:
            raise PackageError(f"has more than {MAXIMUM_MEMBERS} parts")
        elements, found = 0, Package()
        for member in members:  # whatever their names: the file itself says which are XML
            with package.open(member) as stream:
                elements += _PackagePart(found).read(stream, elements)
        return found


def _cell(value: Any) -> str:
    """The text of a cell; whole numbers have no point: a spreadsheet stores grade 2 as 2.0."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else _text(str(value))


def _text(cell: str) -> str:
    """Text without blanks and invisible characters around it, nor the ' that made it no formula."""
    text = cell.strip().strip(INVISIBLE).strip()
    return text[1:].strip() if MADE_TEXT.match(text) else text


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


class _PackagePart:
    """One pass over a part of the file."""

    def __init__(self, found: Package) -> None:
        self._found = found
        self._parser = expat.ParserCreate()
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._root = ""
        self._depth = 0
        self._characters = 0
        self._at_once = 0
        self._elements = 0

    def read(self, stream: IO[bytes], before: int) -> int:
        """Return the number of elements; `before` is that of other parts."""
        # Where it is no XML, the parser that comes after this one stops, too.
        with contextlib.suppress(expat.ExpatError):
            while chunk := stream.read(CHUNK_BYTES):
                self._parser.Parse(chunk)
                if before + self._elements > MAXIMUM_ELEMENTS:
                    raise PackageError(f"has more than {MAXIMUM_ELEMENTS} elements")
            self._parser.Parse(b"", True)  # noqa: FBT003 - the end: it may have put off a part
        return self._elements

    def _doctype(self, *_: object) -> None:
        raise PackageError("defines a document type")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        self._depth += 1
        self._elements += 1
        self._at_once += 1
        self._characters = 0
        if self._depth == 1:
            self._root = name
        elif STREAMED.get((self._root, name)) == self._depth:
            self._at_once = 0
        if self._root == "worksheet":
            self._found.formulas |= name == "f"
            self._found.hidden_rows += name == "row" and attributes.get("hidden") in ("1", "true")
        if self._at_once > ELEMENTS_AT_ONCE:
            raise PackageError(f"has more than {ELEMENTS_AT_ONCE} elements in one row or part")
        if self._depth > MAXIMUM_DEPTH or len(attributes) > MAXIMUM_ATTRIBUTES:
            raise PackageError("has elements within elements, or attributes, beyond any use")

    def _end(self, _name: str) -> None:
        self._depth -= 1

    def _text(self, text: str) -> None:
        self._characters += len(text)
        if self._characters > MAXIMUM_CHARACTERS:
            raise PackageError(f"has a text of more than {MAXIMUM_CHARACTERS} characters")
