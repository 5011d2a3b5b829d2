"""Files of endless parts are refused at once; files as programs write them are not."""

from __future__ import annotations

import functools
import struct
import time
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from knee.reading import image_formats, parts
from knee.reading.decoded import UnreadableImage
from tests.films import encoded, film

MANY = 100_000
JPEG, PNG, TIFF = (encoded(film(0), name) for name in ("JPEG", "PNG", "TIFF"))


def in_jpeg(segment: bytes, count: int = MANY) -> bytes:
    return JPEG[:2] + segment * count + JPEG[2:]


def chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def in_png(chunks: bytes) -> bytes:
    return PNG[:33] + chunks + PNG[33:]


def with_tags(tags: int, size: int, order: str = "<") -> bytes:
    """A TIFF directory whose tags all show the same `size` bytes."""
    entries = b"".join(
        struct.pack(order + "HHII", number % 30_000, 7, size, 8) for number in range(tags)
    )
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + size)
    return head + bytes(size) + struct.pack(order + "H", tags) + entries + bytes(4)


hostile: dict[str, Callable[[], bytes]] = {
    **{
        f"JPEG marker {marker:#x}": functools.partial(in_jpeg, bytes((255, marker, 0, 2)))
        for marker in (0xE0, 0xE1, 0xE2, 0xED, 0xEF, 0xFE, 0xDB, 0xC4)
    },
    "JPEG restarts": lambda: in_jpeg(b"\xff\xd0"),
    "JPEG fill bytes": lambda: in_jpeg(b"\xff"),
    "JPEG zeros": lambda: in_jpeg(b"\0"),
    "JPEG EXIF": lambda: in_jpeg(b"\xff\xe1\0\x0aExif\0\0\0\0"),
    "JPEG large EXIF": lambda: in_jpeg(b"\xff\xe1\xff\xffExif\0\0" + bytes(65_527), 100),
    "JPEG behind a scan": lambda: JPEG[:-2] + b"\xff\xfe\0\2" * MANY + JPEG[-2:],
    "PNG text": lambda: in_png(chunk(b"tEXt", b"a\0b") * MANY),
    "PNG unknown": lambda: in_png(chunk(b"prVt") * MANY),
    "PNG pixels": lambda: in_png(chunk(b"IDAT") * (MANY + 1)),
    "PNG EXIF": lambda: in_png(chunk(b"eXIf", with_tags(900, 60_000))),
    "TIFF tags": lambda: with_tags(60_000, 20),
    "TIFF tags that overlap": lambda: with_tags(900, 1_000_000),
    "TIFF of big-endian tags that overlap": lambda: with_tags(900, 1_000_000, ">"),
}


@pytest.mark.parametrize("name", hostile)
def test_a_file_of_endless_parts_is_refused_at_once(name: str) -> None:
    content = hostile[name]()
    start = time.process_time()
    with pytest.raises(UnreadableImage, match=r"more than [\d,]+|tags hold more bytes"):
        image_formats.decode(content, 1)
    assert time.process_time() - start < 1


def icc() -> bytes:
    return encoded(film(0), "JPEG", icc_profile=bytes(1_000_000), exif=b"Exif\0\0", comment=b"x")


def texts() -> bytes:
    information = PngImagePlugin.PngInfo()
    for number in range(100):
        information.add_text(f"key {number}", "text")
    return encoded(film(0), pnginfo=information, exif=Image.Exif())


def tagged() -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for number in range(40):
        tags.tagtype[33000 + number] = 7
        tags[33000 + number] = bytes(500)
    return encoded(film(0), "TIFF", tiffinfo=tags)


@pytest.mark.parametrize("content", [icc(), texts(), tagged()], ids=["JPEG", "PNG", "TIFF"])
def test_files_with_much_beside_the_pixels_are_read(content: bytes) -> None:
    assert np.abs(image_formats.decode(content, 1).pixels - np.asarray(film(0), int)).max() < 20


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_a_file_that_ends_early_is_left_to_the_decoder(cut: int) -> None:
    for content in (JPEG, PNG, TIFF, b"II+\0" + TIFF[4:]):
        parts.check(content[:cut])
