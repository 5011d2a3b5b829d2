"""Bounds on JPEG segments, PNG chunks and TIFF tags, before a decoder sees them.

Decoders spend microseconds and memory on each part, and a file can hold millions of empty ones, or
a thousand tags that all show the same megabytes.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from knee.reading.decoded import UnreadableImage

MAXIMUM_SCANS: Final = 100  # of a JPEG: each costs seconds, and a few bytes of the file
MAXIMUM_PARTS: Final = 2000  # segments, chunks beside the pixels, or tags; the usual is below 100
MAXIMUM_PIXEL_CHUNKS: Final = 100_000  # of a PNG: writers fill 8 KiB or more each
MAXIMUM_EXIF: Final = 16  # segments of EXIF in a JPEG: Pillow joins them at quadratic cost
MAXIMUM_FILLING: Final = 10_000  # bytes between the segments before a JPEG's first scan
START, SCAN, END = 0xD8, 0xDA, 0xD9
ALONE: Final = frozenset((0x01, START, *range(0xD0, 0xD8)))  # markers without a segment
MARKER: Final = re.compile(rb"\xff[^\x00\xff]")
PNG_SIGNATURE_BYTES: Final = 8
TIFF_TYPE_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
TIFF_STARTS: Final = {b"II*\0": "<HII", b"MM\0*": ">HII", b"II+\0": "<QQQ", b"MM\0+": ">QQQ"}


def check(content: bytes) -> None:
    """Raise `UnreadableImage` for a file of more parts than any image needs."""
    if content.startswith(b"\xff\xd8"):
        check_scans(content)
    elif content.startswith(b"\x89PNG"):
        _check_chunks(content)
    else:
        check_tags(content)


def check_scans(content: bytes) -> None:
    """Raise `UnreadableImage` for a JPEG codestream of too many scans or other segments."""
    scans = segments = filling = exif = at = 0
    match = MARKER.search(content)
    while match:
        filling += match.start() - at if not scans else 0
        at, marker = match.end(), content[match.end() - 1]
        if marker == END:
            return
        scans += marker == SCAN
        segments += marker not in ALONE or not scans  # restarts in a scan are part of it
        if scans > MAXIMUM_SCANS:
            raise UnreadableImage(f"a JPEG of more than {MAXIMUM_SCANS} scans")
        exif += content[at + 2 : at + 8] == b"Exif\0\0"
        if exif > MAXIMUM_EXIF:
            raise UnreadableImage(f"a JPEG of more than {MAXIMUM_EXIF} segments of EXIF")
        if segments > MAXIMUM_PARTS or filling > MAXIMUM_FILLING:
            raise UnreadableImage(f"a JPEG of more than {MAXIMUM_PARTS} segments, or long filling")
        if marker not in ALONE:
            at += max(int.from_bytes(content[at : at + 2], "big"), 2)
        match = MARKER.search(content, at)


def check_tags(content: bytes) -> None:
    """Raise `UnreadableImage` if a TIFF, or EXIF data, has too many tags or counts bytes twice."""
    layout = TIFF_STARTS.get(content[:4])
    if layout is None:
        return
    order, is_big = layout[0], layout[1] == "Q"
    number, entry = (order + "Q", order + "HHQQ") if is_big else (order + "H", order + "HHII")
    try:
        (start,) = struct.unpack_from(order + ("Q" if is_big else "I"), content, 8 if is_big else 4)
        (tags,) = struct.unpack_from(number, content, start)
    except struct.error:  # damaged: the decoder says so
        return
    if tags > MAXIMUM_PARTS:
        raise UnreadableImage(f"a TIFF or EXIF of more than {MAXIMUM_PARTS} tags")
    first, step = start + struct.calcsize(number), struct.calcsize(entry)
    held = 0
    for at in range(first, min(first + tags * step, len(content) - step + 1), step):
        _, kind, count, offset = struct.unpack_from(entry, content, at)
        size = count * TIFF_TYPE_BYTES.get(kind, 8)
        if size > step and offset + size <= len(content):  # others are passed over
            held += size
    if held > len(content):
        raise UnreadableImage("a TIFF or EXIF whose tags hold more bytes than the file")


def _check_chunks(content: bytes) -> None:
    chunks = of_pixels = 0
    at = PNG_SIGNATURE_BYTES
    while at + 8 <= len(content):
        chunks += 1
        of_pixels += content[at + 4 : at + 8] == b"IDAT"
        if chunks - of_pixels > MAXIMUM_PARTS or of_pixels > MAXIMUM_PIXEL_CHUNKS:
            raise UnreadableImage(
                f"a PNG of more than {MAXIMUM_PARTS} chunks beside the pixels, "
                f"or {MAXIMUM_PIXEL_CHUNKS:,} of pixels"
            )
        at += 12 + int.from_bytes(content[at : at + 4], "big")  # length, name, check sum
