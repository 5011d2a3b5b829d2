"""Damage to the structure of JPEG, PNG and TIFF files: segments, chunks, directories, lengths."""

from __future__ import annotations

import functools
import random
import struct
import zlib
from typing import Final

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
PNG_EXTRAS: Final = (
    b"tEXt",
    b"zTXt",
    b"iTXt",
    b"iCCP",
    b"tRNS",
    b"PLTE",
    b"eXIf",
    b"acTL",
    b"fcTL",
)
JPEG_MARKERS: Final = (0xC0, 0xC2, 0xC3, 0xC4, 0xC9, 0xDA, 0xDB, 0xDD, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE)
IFD_ENTRY_BYTES: Final = 12
Chunks = list[tuple[bytes, bytes]]  # of a PNG: type and content
Segments = list[tuple[int, bytes]]  # of a JPEG: marker and content


@functools.cache
def bomb() -> bytes:
    """16 MiB of zeros, packed to 16 kB."""
    return zlib.compress(bytes(1 << 24))


def extremes(size: int) -> tuple[int, ...]:
    """Numbers of `size` bytes at which programs break."""
    top = 1 << (8 * size)
    return (0, 1, 2, 7, top // 256, top // 4, top // 2 - 1, top // 2, top - 2, top - 1)


def damaged_png(dice: random.Random, content: bytes) -> bytes:
    """Chunks removed, repeated, moved, retyped, or with other content, mostly with right sums."""
    chunks = _chunks(content)
    for _ in range(dice.choice((1, 1, 2, 3))):
        at = dice.randrange(len(chunks)) if chunks else 0
        step = dice.choice((_png_list, _png_list, _png_header, _png_content, _png_extra))
        chunks = step(dice, chunks, at)
    honest = dice.random() < 0.8
    made = [PNG_SIGNATURE]
    for kind, data in chunks:
        size = len(data) if honest or dice.random() < 0.7 else dice.choice(extremes(4))
        check = zlib.crc32(kind + data) if honest else dice.getrandbits(32)
        made.append(struct.pack(">I", size) + kind + data + struct.pack(">I", check))
    return b"".join(made)


def _chunks(content: bytes) -> Chunks:
    found: Chunks = []
    at = len(PNG_SIGNATURE)
    while at + 8 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    return found


def _png_list(dice: random.Random, chunks: Chunks, at: int) -> Chunks:
    if not chunks:
        return chunks
    chunk, rest = chunks[at], chunks[:at] + chunks[at + 1 :]
    place = dice.randint(0, len(rest))
    return dice.choice(
        (rest, [*rest[:place], chunk, *rest[place:]], [*chunks[:at], *[chunk] * 3, *chunks[at:]])
    )


def _png_header(dice: random.Random, chunks: Chunks, _at: int) -> Chunks:
    """Extreme sizes, depths, colour types and interlacing."""
    if not chunks or len(chunks[0][1]) < 13:
        return chunks
    header = bytearray(chunks[0][1])
    field = dice.randrange(7)
    if field < 2:
        number = dice.choice((*extremes(4), 5000, 8000, 30_000))
        header[4 * field : 4 * field + 4] = struct.pack(">I", number)
    else:
        header[6 + field] = dice.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
    return [(chunks[0][0], bytes(header)), *chunks[1:]]


def _png_content(dice: random.Random, chunks: Chunks, at: int) -> Chunks:
    if not chunks:
        return chunks
    kind, data = chunks[at]
    other = dice.choice(
        (
            dice.randbytes(len(data)),
            data[: len(data) // 2],
            zlib.compress(dice.randbytes(256)),
            bomb(),
            b"",
        )
    )
    return [*chunks[:at], (kind, other), *chunks[at + 1 :]]


def _png_extra(dice: random.Random, chunks: Chunks, at: int) -> Chunks:
    """A chunk that is rarely there, with little, noise, or a bomb of 16 MB in it."""
    packed = b"a\0\0" + bomb()
    data = dice.choice(
        (b"", b"a\0\0b", dice.randbytes(40), packed, struct.pack(">II", 2**32 - 1, 0))
    )
    return [*chunks[:at], (dice.choice(PNG_EXTRAS), data), *chunks[at:]]


def damaged_jpeg(dice: random.Random, content: bytes) -> bytes:
    """Segments removed, repeated, moved, retyped, with extreme sizes, tables and lengths."""
    segments, scan = _segments(content)
    for _ in range(dice.choice((1, 1, 2, 3))):
        if segments:
            at = dice.randrange(len(segments))
            step = dice.choice((_jpeg_list, _jpeg_frame, _jpeg_frame, _jpeg_content, _jpeg_extra))
            segments = step(dice, segments, at)
    made = [b"\xff\xd8"]
    honest = dice.random() < 0.8
    for marker, data in segments:
        size = len(data) + 2 if honest else dice.choice((len(data) + 2, *extremes(2)))
        made.append(bytes((0xFF, marker)) + struct.pack(">H", size & 0xFFFF) + data)
    return b"".join(made) + dice.choice((scan, scan, scan, scan[: len(scan) // 2], scan * 2))


def _segments(content: bytes) -> tuple[Segments, bytes]:
    """What stands before the first scan, and the scan with all that follows."""
    found: Segments = []
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker, size = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        if marker == 0xDA:
            break
        found.append((marker, content[at + 4 : at + 2 + size]))
        at += 2 + size
    return found, content[at:]


def _jpeg_list(dice: random.Random, segments: Segments, at: int) -> Segments:
    segment, rest = segments[at], segments[:at] + segments[at + 1 :]
    place = dice.randint(0, len(rest))
    return dice.choice(
        (rest, [*rest[:place], segment, *rest[place:]], [*segments[:at], segment, *segments[at:]])
    )


def _jpeg_frame(dice: random.Random, segments: Segments, _at: int) -> Segments:
    """Another precision, height, width, number or sampling of components, or kind of frame."""
    made: Segments = []
    for marker, data in segments:
        frame = bytearray(data)
        if 0xC0 <= marker <= 0xC2 and len(frame) > 7:
            field = dice.randrange(5)
            if field < 2:
                number = dice.choice((*extremes(2), 5000, 8000))
                frame[1 + 2 * field : 3 + 2 * field] = struct.pack(">H", number)
            elif field == 2:
                marker = dice.choice((0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC9, 0xCB, 0xF7))
            else:
                place = 0 if field == 3 else dice.randrange(5, len(frame))
                frame[place] = dice.choice((0, 1, 4, 8, 12, 0x11, 0x44, 0xFF))
        made.append((marker, bytes(frame)))
    return made


def _jpeg_content(dice: random.Random, segments: Segments, at: int) -> Segments:
    marker, data = segments[at]
    noise = dice.randbytes(len(data))
    other = dice.choice((noise, data[: len(data) // 2], data[:1] + noise[1:], data * 2, b""))
    return [*segments[:at], (marker, other[:65_000]), *segments[at + 1 :]]


def _jpeg_extra(dice: random.Random, segments: Segments, at: int) -> Segments:
    """A segment of any kind: EXIF, profiles, tables, restarts."""
    starts = (
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"Exif\0\0",
        b"ICC_PROFILE\0\x01\xff",
        b"MPF\0II*\0",
    )
    data = dice.choice((*starts, b"Adobe\0d\0\0\0\0\x02", b"\0\1")) + dice.randbytes(
        dice.randrange(64)
    )
    return [*segments[:at], (dice.choice(JPEG_MARKERS), data), *segments[at:]]


def damaged_tiff(dice: random.Random, content: bytes) -> bytes:
    """Entries of the first directory with other tags, types, counts and values; directory loops."""
    order = "<" if content.startswith(b"II") else ">"
    made = bytearray(content)
    start = struct.unpack_from(f"{order}I", content.ljust(8, b"\0"), 4)[0]
    if start + 2 > len(content):
        return content
    entries = struct.unpack_from(f"{order}H", content, start)[0]
    for _ in range(dice.choice((1, 1, 2, 4))):
        at = start + 2 + IFD_ENTRY_BYTES * dice.randrange(max(entries, 1))
        if at + IFD_ENTRY_BYTES > len(made):
            break
        field = dice.randrange(5)
        if field == 4:  # the next directory is this one
            end = start + 2 + IFD_ENTRY_BYTES * entries
            made[end : end + 4] = struct.pack(f"{order}I", start)
        elif field < 2:  # tag, type
            number = dice.choice((dice.randint(254, 345), dice.randint(0, 18), *extremes(2)))
            struct.pack_into(f"{order}H", made, at + 2 * field, number)
        else:  # count, value or offset
            number = dice.choice((*extremes(4), len(content), 5000, dice.randrange(2**16)))
            struct.pack_into(f"{order}I", made, at + 4 * (field - 1), number)
    return bytes(made)
