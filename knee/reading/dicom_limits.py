"""Upper limits for DICOM files, so that none costs minutes or gigabytes to look at.

The parser makes an object of every element and item: some kilobytes, deflated, unpack to millions
of them. Segmented palettes can refer to their own parts, and grow without end.
"""

from __future__ import annotations

import io
import zlib
from typing import Any, Final

import numpy as np

from knee.reading.decoded import UnreadableImage

BYTES_PER_PIXEL: Final = 8  # more than any image has
HEADER_BYTES: Final = 64 << 20  # around the pixels; more is no header
# Of a parser's stream: one to three an element or item, and one for 8 KiB of compressed pixels.
MAXIMUM_READS: Final = 100_000
MAXIMUM_FRAGMENTS: Final = 100_000  # of compressed pixels
MAXIMUM_ITEMS: Final = 100  # of a sequence of lookup tables, all levels together
MAXIMUM_SEQUENCE_BYTES: Final = 1 << 20  # a table has up to 128 KiB
MAXIMUM_ENTRIES: Final = 1 << 16  # of a palette
ITEMS: Final = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # their tag, in either byte order
COLOURS: Final = ("Red", "Green", "Blue")


class Stream(io.BytesIO):
    """A file's bytes, for a parser that reads one element after the other."""

    _reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes; `UnreadableImage` after too many reads."""
        self._reads += 1
        if self._reads > MAXIMUM_READS:
            raise UnreadableImage("a DICOM header of more elements than any film has")
        return super().read(size)


def inflated(packed: bytes, maximum_megapixels: float) -> bytes:
    """Return the deflated data set, unpacked.

    Raises:
        UnreadableImage: it unpacks to too much.
        zlib.error: it is damaged.
    """
    limit = int(maximum_megapixels * 1e6) * BYTES_PER_PIXEL + HEADER_BYTES
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    content = inflater.decompress(packed, limit)
    if inflater.unconsumed_tail:
        raise UnreadableImage("unpacks to more than ingest.maximum_megapixels allows")
    return content


def check_fragments(pixels: bytes) -> None:
    """Raise `UnreadableImage` for compressed pixels in more than MAXIMUM_FRAGMENTS."""
    if pixels.count(ITEMS[0]) > MAXIMUM_FRAGMENTS:
        raise UnreadableImage("DICOM pixels in more pieces than any film has")


def is_table_sequence(dataset: Any, keyword: str) -> bool:
    """Return whether the sequence is there, and small enough for lookup tables."""
    if keyword not in dataset:
        return False
    value = dataset.get_item(keyword).value
    if not isinstance(value, bytes):  # parsed with the rest, and counted there
        return True
    items = max(value.count(tag) for tag in ITEMS)
    return len(value) <= MAXIMUM_SEQUENCE_BYTES and items <= MAXIMUM_ITEMS


def check_palette(dataset: Any) -> None:
    """Raise `UnreadableImage` for a segmented palette that repeats itself, or outgrows a table."""
    _, little = dataset.original_encoding
    for colour in COLOURS:
        data = dataset.get(f"Segmented{colour}PaletteColorLookupTableData")
        if data is None:
            continue
        bits = int(dataset.get(f"{colour}PaletteColorLookupTableDescriptor")[2])
        kind = np.dtype("u1" if bits == 8 else "<u2" if little else ">u2")
        words = np.frombuffer(bytes(data), kind, len(data) // kind.itemsize)
        if _entries(words) > MAXIMUM_ENTRIES:
            raise UnreadableImage("a DICOM palette of more colours than any film has")


def _entries(words: Any) -> int:
    """Number of entries that the segments give; more than allowed if one repeats others."""
    total = at = 0
    while at + 1 < len(words) and total <= MAXIMUM_ENTRIES:
        opcode, length = int(words[at]), int(words[at + 1])
        if opcode > 1:  # 2 repeats earlier ones; others do not exist
            return MAXIMUM_ENTRIES + 1
        total += max(length, 1)
        at += 2 + (length if opcode == 0 else 1)
    return total
