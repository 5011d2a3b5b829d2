"""Whether an Excel file, a zip of XML, can be given to a parser: its size and shape, by one pass.

A hundred kilobytes can unpack to a row of millions of cells, which would cost gigabytes and
minutes. The pass holds nothing of what it reads.
"""

from __future__ import annotations

import contextlib
import io
import zipfile
from typing import IO, Final
from xml.parsers import expat

MAXIMUM_UNPACKED_BYTES: Final = 256 * 2**20
MAXIMUM_MEMBERS: Final = 10_000
MAXIMUM_ELEMENTS: Final = 10_000_000  # of all parts: 400,000 rows of eight columns are 7 million
ELEMENTS_AT_ONCE: Final = 200_000  # in a row, or in a part without rows, which is held as a whole
MAXIMUM_DEPTH: Final = 64
MAXIMUM_ATTRIBUTES: Final = 1000
MAXIMUM_CHARACTERS: Final = 2**20  # of an element's text; a cell holds 32,767
STREAMED: Final = {("worksheet", "row"): 3, ("sst", "si"): 2}  # part and element: its depth
CHUNK_BYTES: Final = 1 << 18


class PackageError(ValueError):
    """The file must not be parsed; the message says why, without quoting it."""


def check(content: bytes) -> None:
    """Refuse what defines XML entities, or unpacks to more than a sheet of labels can be.

    Raises:
        PackageError: it does.
        BadZipFile, and whatever zipfile trips over: damaged files.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        members = package.infolist()
        # zipfile never gives more of a member than its header says.
        if sum(member.file_size for member in members) > MAXIMUM_UNPACKED_BYTES:
            raise PackageError(f"unpacks to more than {MAXIMUM_UNPACKED_BYTES >> 20} MiB")
        if len(members) > MAXIMUM_MEMBERS:
            raise PackageError(f"has more than {MAXIMUM_MEMBERS} parts")
        elements = 0
        for member in members:  # whatever their names: the file itself says which are XML
            with package.open(member) as stream:
                elements += _Part().read(stream, elements)


class _Part:
    """One pass over a part of the file."""

    def __init__(self) -> None:
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
        """The number of elements; `before` is that of other parts."""
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
