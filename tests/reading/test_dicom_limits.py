"""Small DICOM files that would cost minutes or gigabytes."""

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from pydicom import encaps, uid

from knee.reading import dicom_limits, image_formats
from knee.reading.decoded import UnreadableImage
from tests.reading.dicom_files import RAMP, dataset, dicom, encapsulated, jpeg, table, written

ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
ELEMENT = struct.pack("<HH2sH", 9, 0x10, b"LO", 0)
COLOURS = ("Red", "Green", "Blue")
GRAY = RAMP.astype(np.uint8)


def reason(content: bytes) -> str:
    with pytest.raises(UnreadableImage) as raised:
        image_formats.decode(content, 1)
    return str(raised.value)


def deflated(before: bytes) -> bytes:
    """A deflated file whose data set begins with these bytes."""
    plain, empty = dicom(), dataset()
    empty.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    head, body = written(empty)[: meta_end(written(empty))], plain[meta_end(plain) :]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return head + packer.compress(before + body) + packer.flush()


def meta_end(content: bytes) -> int:
    return 144 + int.from_bytes(content[140:144], "little")


def sequence(tag: tuple[int, int], size: int) -> bytes:
    return struct.pack("<HH2sHI", *tag, b"SQ", 0, size)


@pytest.mark.parametrize(
    "before",
    [ELEMENT * 150_000, sequence((8, 0x1140), 0xFFFFFFFF) + ITEM * 120_000 + END],
    ids=["elements", "items"],
)
def test_a_header_of_elements_without_end_is_refused(before: bytes) -> None:
    content = deflated(before)
    assert len(content) < 8000
    assert reason(content) == "a DICOM header of more elements than any film has"


def test_a_sequence_of_tables_without_end_is_as_good_as_none() -> None:
    content = deflated(sequence((0x28, 0x3010), 8 * 200_000) + ITEM * 200_000)
    expected = image_formats.decode(dicom(), 1).pixels
    np.testing.assert_array_equal(image_formats.decode(content, 1).pixels, expected)


def test_a_table_of_the_largest_size_is_used() -> None:
    entries = np.linspace(65_535, 0, (1 << 16) - 1).astype(np.uint16)
    shown = image_formats.decode(dicom(VOILUTSequence=table(entries, 0)), 1).pixels
    assert shown[0, 0] > 250  # a falling table: low values are white


def test_compressed_pixels_in_pieces_without_end_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = jpeg(GRAY)
    made = dataset(GRAY, BitsStored=8)
    content = encapsulated(frame, uid.JPEGBaseline8Bit, made)
    assert image_formats.decode(content, 1).pixels.shape == GRAY.shape
    made.PixelData = encaps.encapsulate([frame], fragments_per_frame=20)
    monkeypatch.setattr(dicom_limits, "MAXIMUM_FRAGMENTS", 10)
    assert reason(written(made)) == "DICOM pixels in more pieces than any film has"


def palette(segments: list[int]) -> bytes:
    """A file with a segmented palette of 16-bit words."""
    words = np.array(segments, np.uint16).tobytes()
    elements: dict[str, Any] = {}
    for colour in COLOURS:
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        elements[f"Segmented{colour}PaletteColorLookupTableData"] = words
    made = dataset(GRAY, BitsStored=8)
    made.PhotometricInterpretation = "PALETTE COLOR"
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return written(made)


def test_a_segmented_palette_of_a_usual_size_is_read() -> None:
    shown = image_formats.decode(palette([0, 1, 0, 1, 255, 65_280]), 1).pixels
    assert shown[0, 0] < shown[0, 1] < shown[0, 2]


@pytest.mark.parametrize(
    "segments",
    [[0, 1, 0, *[1, 65_535, 9, 1, 65_535, 8] * 500], [0, 1, 0, 2, 2, 0, 0, 2, 2, 0, 0]],
    ids=["long", "of itself"],
)
def test_a_segmented_palette_without_end_is_refused(segments: list[int]) -> None:
    assert reason(palette(segments)) == "a DICOM palette of more colours than any film has"
