import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin
from pydicom import uid

from knee.reading import image_formats, parts, raster
from knee.reading.decoded import COLOURED, UnreadableImage
from tests.films import encoded
from tests.reading.dicom_files import dataset, encapsulated

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5


@pytest.mark.parametrize(
    ("file_format", "compression"), [("PNG", "png"), ("BMP", "none"), ("TIFF", "none")]
)
def test_gray_pixels_come_back_unchanged(file_format: str, compression: str) -> None:
    decoded = raster.decode(encoded(Image.fromarray(RAMP), file_format), 1)
    np.testing.assert_array_equal(decoded.pixels, RAMP)
    assert decoded.pixels.dtype == np.uint8
    assert (decoded.mode, decoded.format, decoded.bits) == ("L", file_format, 8)
    assert decoded.compression == compression


def test_jpeg_comes_back_nearly_unchanged() -> None:
    decoded = raster.decode(encoded(Image.fromarray(RAMP), "JPEG", quality=95), 1)
    assert np.abs(decoded.pixels.astype(int) - RAMP).max() <= 3
    assert (decoded.format, decoded.bits, decoded.compression) == ("JPEG", 8, "jpeg")


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_compressed_tiff_is_read_and_named(compression: str) -> None:
    decoded = raster.decode(encoded(Image.fromarray(RAMP), "TIFF", compression=compression), 1)
    assert np.abs(decoded.pixels.astype(int) - RAMP).max() <= (30 if compression == "jpeg" else 0)
    assert decoded.compression == f"tiff_{compression.removeprefix('tiff_')}"


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_gray_in_another_mode_is_the_same_picture(mode: str) -> None:
    decoded = raster.decode(encoded(Image.fromarray(RAMP).convert(mode)), 1)
    np.testing.assert_array_equal(decoded.pixels, RAMP)
    assert decoded.mode == mode


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "BMP"])
@pytest.mark.parametrize("side", [40, 500])
def test_a_photograph_in_colour_is_noted_and_gray_with_a_small_mark_is_not(
    file_format: str, side: int
) -> None:
    gray = np.linspace(0, 200, side * side).reshape(side, side, 1).repeat(3, axis=2)
    sepia = (gray * (1, 0.8, 0.6)).astype(np.uint8)
    marked = gray.astype(np.uint8)
    marked[: side // 6, : side // 6] = (255, 0, 0)
    for pixels, note in ((sepia, COLOURED), (marked, ""), (gray.astype(np.uint8), "")):
        assert raster.decode(encoded(Image.fromarray(pixels), file_format), 1).note == note


def test_colours_of_a_palette_are_noted() -> None:
    image = Image.new("RGB", (40, 40), (200, 120, 60)).quantize(8)
    assert raster.decode(encoded(image), 1).note == COLOURED


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP"])
def test_one_bit_is_black_and_white(file_format: str) -> None:
    image = Image.fromarray(RAMP > 100)
    assert image.mode == "1"
    decoded = raster.decode(encoded(image, file_format), 1)
    np.testing.assert_array_equal(decoded.pixels, (RAMP > 100) * np.uint8(255))
    assert decoded.bits == 1


def test_cmyk_keeps_its_polarity() -> None:
    image = Image.fromarray(RAMP).convert("RGB").convert("CMYK")
    for file_format in ("TIFF", "JPEG"):
        pixels = raster.decode(encoded(image, file_format), 1).pixels
        assert np.abs(pixels.astype(int) - RAMP).max() <= (1 if file_format == "TIFF" else 12)


def test_transparent_parts_are_black() -> None:
    image = Image.new("RGBA", (4, 4), (255, 255, 255, 0))
    image.paste((255, 255, 255, 255), (0, 0, 2, 4))
    pixels = raster.decode(encoded(image), 1).pixels
    assert pixels[:, :2].min() == 255
    assert pixels[:, 2:].max() == 0


def test_a_transparent_entry_of_a_palette_is_black() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 255, 255, 200, 200, 200])
    image.putpixel((1, 0), 1)
    pixels = raster.decode(encoded(image, transparency=1), 1).pixels
    assert pixels.tolist() == [[255, 0]]


def test_gamma_of_the_file_is_not_applied() -> None:
    plain = encoded(Image.fromarray(RAMP))
    gamma = b"gAMA" + struct.pack(">I", 100000)
    chunk = struct.pack(">I", 4) + gamma + struct.pack(">I", zlib.crc32(gamma))
    np.testing.assert_array_equal(raster.decode(plain[:33] + chunk + plain[33:], 1).pixels, RAMP)


deep_images = [
    (RAMP.astype(np.uint16) * 200 + 1000, "PNG", 16),
    (RAMP.astype(np.uint16) * 17, "PNG", 16),  # 12 bits in a container of 16
    (RAMP.astype(np.uint16) * 4, "TIFF", 16),  # 10 bits
    (RAMP.astype(np.uint16) * 200 + 1000, "TIFF", 16),
    (RAMP.astype(np.int32) * 100_000 - 7, "TIFF", 32),
    (RAMP.astype(np.float32) / 17 - 3, "TIFF", 32),
]


@pytest.mark.parametrize(("values", "file_format", "bits"), deep_images)
def test_deep_pixels_fill_the_range_and_keep_their_order(
    values: npt.NDArray[Any], file_format: str, bits: int
) -> None:
    decoded = raster.decode(encoded(Image.fromarray(values), file_format), 1)
    assert (decoded.pixels.min(), decoded.pixels.max(), decoded.bits) == (0, 255, bits)
    expected = np.rint((values - float(values.min())) * 255 / float(np.ptp(values)))
    assert np.abs(decoded.pixels - expected).max() <= 1


def test_a_deep_tiff_in_which_0_is_white_is_turned() -> None:
    upright = raster.decode(deep_tiff(photometric=1), 1).pixels
    np.testing.assert_array_equal(raster.decode(deep_tiff(photometric=0), 1).pixels, 255 - upright)


@pytest.mark.parametrize("photometric", [0, 1])
def test_a_shallow_tiff_is_turned_once(photometric: int) -> None:
    content = bytearray(encoded(Image.fromarray(RAMP), "TIFF"))
    entry = content.index(struct.pack("<HHI", raster.TIFF_PHOTOMETRIC, 3, 1))
    content[entry + 8] = photometric
    expected = RAMP if photometric else 255 - RAMP
    np.testing.assert_array_equal(raster.decode(bytes(content), 1).pixels, expected)


def deep_tiff(photometric: int) -> bytes:
    content = bytearray(encoded(Image.fromarray(RAMP.astype(np.uint16) * 9), "TIFF"))
    entry = content.index(struct.pack("<HHI", raster.TIFF_PHOTOMETRIC, 3, 1))
    content[entry + 8] = photometric
    return bytes(content)


def gray_tiff(packed: bytes, bits: int, width: int = 4, sample_format: int = 1) -> bytes:
    """An uncompressed TIFF of one row, by hand."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in ((256, width), (257, 1), (258, bits), (259, 1), (262, 1), (277, 1), (278, 1)):
        tags[tag] = value
    tags[raster.TIFF_SAMPLE_FORMAT] = sample_format
    tags[273], tags[279] = 0, len(packed)  # right behind the tags
    head = io.BytesIO()
    tags.save(head)
    return head.getvalue() + packed


def test_packed_12_bits_are_read() -> None:
    packed = b"\x00\xff\xf0"  # 0x00f, 0xff0: high bits first
    content = gray_tiff(packed, bits=12, width=2)
    decoded = raster.decode(content, 1)
    assert (decoded.bits, decoded.pixels.tolist()) == (12, [[0, 255]])


def test_16_bits_in_colour_fill_the_range_too() -> None:
    rows = b"".join(b"\0" + struct.pack(">3H", *[value] * 3) for value in (256, 13312, 65280))
    decoded = raster.decode(png(1, 3, depth=16, colour=2, rows=rows), 1)
    assert (decoded.bits, decoded.mode) == (16, "RGB")
    assert decoded.pixels[:, 0].tolist() == [0, 51, 255]


@pytest.mark.parametrize("bits", [12, 13])
def test_fewer_than_64_levels_of_16_bits_in_colour_are_refused(bits: int) -> None:
    rows = b"".join(b"\0" + struct.pack(">3H", *[value] * 3) for value in (0, 2**bits - 1))
    with pytest.raises(UnreadableImage, match="too few of its 16 bits a colour"):
        raster.decode(png(1, 2, depth=16, colour=2, rows=rows), 1)


@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("signed", [False, True])
def test_tiff_values_have_the_sign_that_their_tag_says(bits: int, signed: bool) -> None:
    stored = np.array([0, 100, 200, 255], "u4") << (bits - 8)
    if signed:
        stored -= np.uint32(1 << (bits - 1))
    packed = stored.astype(f"<u{bits // 8}").tobytes()
    assert raster.decode(gray_tiff(packed, bits, sample_format=1 + signed), 1).pixels.tolist() == [
        [0, 100, 200, 255]
    ]


def test_a_constant_deep_image_is_black() -> None:
    image = Image.fromarray(np.full((4, 4), 900, np.uint16))
    assert raster.decode(encoded(image), 1).pixels.max() == 0


def test_values_that_are_not_numbers_are_refused() -> None:
    image = Image.fromarray(np.full((4, 4), np.nan, np.float32))
    with pytest.raises(UnreadableImage, match="not numbers"):
        raster.decode(encoded(image, "TIFF"), 1)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "JPEG"])
def test_exif_rotation_is_applied_once(file_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    decoded = raster.decode(encoded(Image.fromarray(RAMP), file_format, exif=exif), 1)
    difference = decoded.pixels.astype(int) - np.rot90(RAMP, -1)
    assert np.abs(difference).max() <= (0 if file_format != "JPEG" else 20)


def test_damaged_exif_does_not_cost_an_image() -> None:
    content = encoded(Image.fromarray(RAMP), exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    np.testing.assert_array_equal(raster.decode(content, 1).pixels, RAMP)


def png(width: int, height: int, depth: int = 8, colour: int = 0, rows: bytes = b"") -> bytes:
    """A PNG file by hand; its compressed rows need not fit its header."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def frames(file_format: str) -> bytes:
    other = Image.fromarray(255 - RAMP)
    return encoded(Image.fromarray(RAMP), file_format, save_all=True, append_images=[other])


def with_text_bomb() -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 50_000_000, zip=True)
    return encoded(Image.fromarray(RAMP), pnginfo=text)


refused: dict[str, tuple[Callable[[], bytes], str]] = {
    "two frames of TIFF": (lambda: frames("TIFF"), "holds several images: export one a file"),
    "two frames of PNG": (lambda: frames("PNG"), "holds several images: export one a file"),
    "two frames of JPEG": (lambda: frames("MPO"), "holds several images: export one a file"),
    "above the limit": (
        lambda: encoded(Image.new("L", (1001, 1000))),
        "1001 x 1000 px is above ingest.maximum_megapixels = 1",
    ),
    "a header of 30,000 x 30,000": (
        lambda: png(30_000, 30_000),
        "its header tells of more pixels than any film has",
    ),
    "a header of 12,000 x 12,000": (
        lambda: png(12_000, 12_000),
        "12000 x 12000 px is above ingest.maximum_megapixels = 1",
    ),
    "a text of 50 MB": (with_text_bomb, "holds a text or profile that unpacks to too much"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("case", refused)
def test_what_is_no_usable_image_is_refused_with_its_reason(case: str) -> None:
    content, reason = refused[case]
    with pytest.raises(UnreadableImage) as raised:
        raster.decode(content(), 1)
    assert str(raised.value) == reason


def test_size_is_refused_before_any_pixel_is_decoded() -> None:
    whole = encoded(Image.new("L", (2000, 2000)))
    with pytest.raises(UnreadableImage, match="2000 x 2000 px"):
        raster.decode(whole[:60], 1)  # the header is all there is


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "BMP"])
@pytest.mark.filterwarnings("ignore:Truncated File Read")
def test_a_truncated_image_is_refused(file_format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    content = encoded(Image.fromarray(noise), file_format)
    with pytest.raises(UnreadableImage, match="truncated"):
        raster.decode(content[: len(content) // 2], 1)


GRAY = np.full((48, 64), 128, np.uint8)


def progressive(more_scans: int) -> bytes:
    """A JPEG whose last scan is there so many times more."""
    whole = encoded(Image.fromarray(GRAY), "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * more_scans + whole[-2:]


def test_pictures_of_some_scans_are_read() -> None:
    for content in (progressive(0), progressive(parts.MAXIMUM_SCANS - 20)):
        assert image_formats.decode(content, 1).pixels.shape == GRAY.shape


def test_a_jpeg_of_scans_without_end_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="a JPEG of more than 100 scans"):
        image_formats.decode(progressive(101), 1)


def test_the_same_in_dicom_is_refused() -> None:
    content = encapsulated(progressive(101), uid.JPEGBaseline8Bit, dataset(GRAY, BitsStored=8))
    with pytest.raises(UnreadableImage, match="a JPEG of more than 100 scans"):
        image_formats.decode(content, 1)


def test_what_only_looks_like_scans_is_none() -> None:
    """In a comment, and behind the end of the picture, as in films of a phone's motion."""
    whole = encoded(Image.fromarray(GRAY), "JPEG", comment=b"\xff\xda" * 500)
    parts.check_scans(whole + b"\xff\xda\0\x02" * 500)


def test_a_scan_between_restarts_is_one() -> None:
    stream = io.BytesIO()
    Image.fromarray(np.tile(GRAY, (8, 8))).save(stream, "JPEG", restart_marker_blocks=1)
    assert stream.getvalue().count(b"\xff\xd0") > 100
    parts.check_scans(stream.getvalue())
