import io
import logging
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset

from knee.reading import dicom, image_formats
from knee.reading.decoded import COLOURED, UnreadableImage
from knee.storage.arrays import Pixels
from tests.reading.dicom_files import (
    RAMP,
    dataset,
    encapsulated,
    jpeg,
    jpeg_2000,
    table,
    transcoded,
    written,
)
from tests.reading.dicom_files import dicom as content_of

GRAY = RAMP.astype(np.uint8)  # 20 to 255 and on from 0
WIDE = np.tile(RAMP, (4, 4))


def shown(stored: npt.NDArray[Any] = RAMP, **elements: Any) -> Pixels:
    return image_formats.decode(content_of(stored, **elements), 1).pixels


def reason(content: bytes, maximum_megapixels: float = 1) -> str:
    with pytest.raises(UnreadableImage) as raised:
        image_formats.decode(content, maximum_megapixels)
    return str(raised.value)


def test_12_bits_without_a_window_fill_the_range() -> None:
    decoded = image_formats.decode(content_of(), 1)
    expected = np.rint((RAMP - 20.0) * 255 / (47 * 85))
    np.testing.assert_array_equal(decoded.pixels, expected)
    assert (decoded.format, decoded.mode, decoded.bits) == ("DICOM", "MONOCHROME2", 12)
    assert decoded.compression == "ExplicitVRLittleEndian"


def test_monochrome_1_is_the_inverse_of_monochrome_2() -> None:
    windows: list[dict[str, Any]] = [{}, {"WindowCenter": 2000, "WindowWidth": 1000}]
    for elements in windows:
        bone_is_white = shown(**elements)
        film = shown(PhotometricInterpretation="MONOCHROME1", **elements)
        np.testing.assert_array_equal(film, 255 - bone_is_white)
        assert bone_is_white[0, 0] == 0


def test_low_values_are_white_in_monochrome_1_and_not_twice_inverted() -> None:
    pixels = shown(PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")
    assert (pixels[0, 0], pixels[-1, -1]) == (255, 0)


def test_8_bits_without_a_window_stay_as_they_are() -> None:
    np.testing.assert_array_equal(shown(GRAY, BitsStored=8), GRAY)


def test_the_first_of_several_windows_is_shown() -> None:
    pixels = shown(WindowCenter=[1000.5, 4000], WindowWidth=[511, 10])
    expected = np.clip(np.rint(((RAMP - 1000.0) / 510 + 0.5) * 255), 0, 255)
    np.testing.assert_array_equal(pixels, expected)


def test_rescale_comes_before_the_window() -> None:
    plain = shown(WindowCenter=1000, WindowWidth=500)
    rescaled = shown(
        RescaleSlope="2", RescaleIntercept="-1024", WindowCenter=976, WindowWidth=999
    )  # 2 x 1000 - 1024 = 976; 2 x (500 - 1) + 1 = 999, LINEAR counting both ends
    assert np.abs(plain.astype(int) - rescaled).max() <= 1


def test_the_case_of_the_photometric_interpretation_does_not_matter() -> None:
    np.testing.assert_array_equal(shown(PhotometricInterpretation="monochrome1"), 255 - shown())


def test_a_falling_rescale_turns_the_picture() -> None:
    turned = shown(RescaleSlope="-1", RescaleIntercept="0")
    np.testing.assert_array_equal(turned, 255 - shown())


def test_signed_values_with_a_negative_intercept_are_in_order() -> None:
    stored = RAMP.astype(np.int16) - 2000
    pixels = shown(stored, BitsStored=16, RescaleSlope="1", RescaleIntercept="-10")
    np.testing.assert_array_equal(pixels, shown())


def test_a_voi_table_wins_over_a_window() -> None:
    entries = np.linspace(1023, 0, 4096).astype(np.uint16)  # 10 bits, falling
    pixels = shown(VOILUTSequence=table(entries, 0, 10), WindowCenter=1, WindowWidth=2)
    np.testing.assert_array_equal(pixels, np.rint(entries[RAMP] * (255 / 1023)))


def test_a_modality_table_comes_before_the_voi_table() -> None:
    modality = (np.arange(4096) // 2).astype(np.uint16)
    interest = np.arange(0, 4096, 2).astype(np.uint16)
    pixels = shown(ModalityLUTSequence=table(modality, 0), VOILUTSequence=table(interest, 0, 12))
    np.testing.assert_array_equal(pixels, np.rint((RAMP // 2) * 2 * (255 / 4094)))


@pytest.mark.parametrize(
    "elements", [{"WindowWidth": 0}, {"WindowWidth": ""}, {"WindowCenter": ""}]
)
def test_a_window_that_says_nothing_is_left_out(elements: dict[str, Any]) -> None:
    with_window = {"WindowCenter": 10, "WindowWidth": 10} | elements
    np.testing.assert_array_equal(shown(**with_window), shown())


def test_padding_is_black_and_does_not_count_for_the_range() -> None:
    stored = RAMP.copy()
    stored[0] = 4095 + 60_000
    pixels = shown(stored, BitsStored=16, PixelPaddingValue=64_095)
    assert not pixels[0].any()
    assert (pixels[1:].min(), pixels[1:].max()) == (0, 255)
    film = shown(
        stored, BitsStored=16, PixelPaddingValue=64_095, PhotometricInterpretation="MONOCHROME1"
    )
    assert not film[0].any()


def test_a_range_of_padding_is_left_out() -> None:
    stored = RAMP.copy()
    stored[0, :2] = (60_000, 60_005)
    pixels = shown(stored, BitsStored=16, PixelPaddingValue=60_010, PixelPaddingRangeLimit=60_000)
    assert pixels[0, :2].tolist() == [0, 0]
    assert pixels[-1, -1] == 255


def test_colour_is_the_gray_that_other_formats_give() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    expected = np.asarray(Image.fromarray(colour).convert("L"))
    assert np.abs(shown(colour, BitsStored=8).astype(int) - expected).max() <= 1


def test_ybr_is_gray_by_its_luminance() -> None:
    colour = np.full((6, 8, 3), 128, np.uint8)
    colour[..., 0] = GRAY
    pixels = shown(colour, BitsStored=8, PhotometricInterpretation="YBR_FULL")
    assert np.abs(pixels.astype(int) - GRAY).max() <= 1


def test_a_palette_is_looked_up() -> None:
    made = dataset(np.array([[0, 1], [2, 2]], np.uint8), BitsStored=8)
    made.PhotometricInterpretation = "PALETTE COLOR"
    for colour in ("Red", "Green", "Blue"):
        made.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [3, 0, 16])
        entries = np.array([65535, 0, 257 * 100], "<u2").tobytes()
        made.add_new(f"{colour}PaletteColorLookupTableData", "OW", entries)
    assert image_formats.decode(written(made), 1).pixels.tolist() == [[255, 0], [100, 100]]


def test_1_bit_is_black_and_white() -> None:
    made = dataset(np.zeros((2, 8), np.uint8), BitsAllocated=1, BitsStored=1)
    made.PixelData = bytes([0b00001111, 0b10000000])  # lowest bit first
    decoded = image_formats.decode(written(made), 1)
    assert decoded.pixels.tolist() == [[255] * 4 + [0] * 4, [0] * 7 + [255]]
    assert decoded.bits == 1


@pytest.mark.parametrize(
    ("gdcm_name", "keyword", "off"),
    [
        ("JPEGLosslessProcess14_1", "JPEGLosslessSV1", 0),
        ("JPEGLosslessProcess14", "JPEGLossless", 0),
        ("JPEGLSLossless", "JPEGLSLossless", 0),
        ("JPEG2000Lossless", "JPEG2000Lossless", 0),
        ("RLELossless", "RLELossless", 0),
        ("DeflatedExplicitVRLittleEndian", "DeflatedExplicitVRLittleEndian", 0),
        ("JPEGExtendedProcess2_4", "JPEGExtended12Bit", 2),
        ("JPEGLSNearLossless", "JPEGLSNearLossless", 2),
        ("JPEG2000", "JPEG2000", 2),
    ],
)
def test_compressed_pixels_are_those_of_the_uncompressed_file(
    tmp_path: Path, gdcm_name: str, keyword: str, off: int
) -> None:
    plain = content_of(WIDE)
    decoded = image_formats.decode(transcoded(plain, gdcm_name, tmp_path), 1)
    expected = image_formats.decode(plain, 1).pixels
    assert np.abs(decoded.pixels.astype(int) - expected).max() <= off
    assert (decoded.compression, decoded.bits) == (keyword, 12)


# Values in the cells that hold them: bits stored, High Bit, and what stands beside the value.
LAYOUTS: dict[str, tuple[int, int, int]] = {
    "an overlay above": (12, 11, 0x1000),
    "all above set": (12, 11, 0xF000),
    "left-aligned": (12, 15, 0),
    "left-aligned above an overlay": (12, 15, 0x0005),
    "in the middle": (10, 12, 0xE005),
    "whole cells": (16, 15, 0),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize(
    "gdcm_name",
    [
        *("", "JPEGLosslessProcess14_1", "JPEGLosslessProcess14", "JPEGLSLossless"),
        *("JPEG2000Lossless", "RLELossless", "DeflatedExplicitVRLittleEndian"),
    ],
)
def test_values_are_the_bits_up_to_high_bit_in_every_codec(
    tmp_path: Path, gdcm_name: str, signed: int, layout: str
) -> None:
    stored, high, beside = LAYOUTS[layout]
    below = high + 1 - stored
    numbers = np.linspace(0, 2**stored - 1, 24 * 32).round().astype(np.int64).reshape(24, 32)
    values = numbers - signed * 2 ** (stored - 1)
    cells = (values & (2**stored - 1)) << below
    cells[-5:] |= beside  # on values above 0: below, all bits set above continue the sign
    content = content_of(cells.astype(np.uint16), BitsStored=16)
    if gdcm_name:
        content = transcoded(content, gdcm_name, tmp_path)
    made = pydicom.dcmread(io.BytesIO(content))
    made.BitsStored, made.HighBit, made.PixelRepresentation = stored, high, signed
    expected = np.rint(numbers * (255 / (2**stored - 1)))
    decoded = image_formats.decode(written(made), 1)
    np.testing.assert_array_equal(decoded.pixels, expected)
    assert decoded.note == (
        "bits above High Bit: left out, as an overlay" if beside >> (high + 1) else ""
    )


@pytest.mark.parametrize("precision", [12, 16])
def test_a_codestream_of_values_without_cells_is_not_shifted(
    tmp_path: Path, precision: int
) -> None:
    stored = RAMP if precision == 12 else RAMP << 4
    content = content_of(stored, BitsStored=precision)
    made = pydicom.dcmread(io.BytesIO(transcoded(content, "JPEGLosslessProcess14_1", tmp_path)))
    made.BitsStored, made.HighBit = 12, 15
    np.testing.assert_array_equal(image_formats.decode(written(made), 1).pixels, shown())


def item(**elements: Any) -> list[Dataset]:
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return [made]


RESCALE = {"RescaleSlope": -1, "RescaleIntercept": 4095, "RescaleType": "US"}
MACROS: dict[str, Any] = {
    "PixelValueTransformationSequence": item(**RESCALE),
    "FrameVOILUTSequence": item(WindowCenter=1800, WindowWidth=3000),
    "PixelMeasuresSequence": item(PixelSpacing=[0.15, 0.15]),
    "FrameAnatomySequence": item(FrameLaterality="R"),
}


@pytest.mark.parametrize("group", ["Shared", "PerFrame"])
@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
def test_functional_groups_say_what_other_files_say_at_their_top_level(
    group: str, syntax: uid.UID
) -> None:
    made = dataset(4095 - RAMP, NumberOfFrames=1)
    made.file_meta.TransferSyntaxUID = syntax
    setattr(made, f"{group}FunctionalGroupsSequence", item(**MACROS))
    if group == "PerFrame":  # what is of the frame wins
        made.SharedFunctionalGroupsSequence = item(FrameVOILUTSequence=item(WindowCenter=9))
    decoded = image_formats.decode(written(made), 1)
    expected = np.rint(np.clip((RAMP - 1799.5) / 2999 + 0.5, 0, 1) * 255)
    np.testing.assert_array_equal(decoded.pixels, expected)
    assert (decoded.pixel_spacing_mm, decoded.side) == (0.15, "right")


def test_functional_groups_of_more_than_one_image_are_refused() -> None:
    made = dataset(NumberOfFrames=1)
    made.PerFrameFunctionalGroupsSequence = item(**MACROS) * 200
    assert reason(written(made)) == "an enhanced DICOM object: export it as DX"


@pytest.mark.parametrize(
    ("elements", "shape", "spacing"),
    [
        ({"PixelSpacing": [0.4, 0.2]}, (12, 8), 0.2),
        ({"ImagerPixelSpacing": [0.2, 0.3]}, (6, 12), 0.2),
        ({"PixelAspectRatio": [3, 1]}, (18, 8), np.nan),
        ({"PixelSpacing": [0.2, 0.2]}, (6, 8), 0.2),
    ],
)
def test_oblong_pixels_become_square(
    elements: dict[str, Any], shape: tuple[int, int], spacing: float
) -> None:
    decoded = image_formats.decode(content_of(**elements), 1)
    assert decoded.pixels.shape == shape
    np.testing.assert_equal(decoded.pixel_spacing_mm, spacing)
    corners = decoded.pixels[[0, 0, -1, -1], [0, -1, 0, -1]]
    np.testing.assert_array_equal(corners, shown()[[0, 0, -1, -1], [0, -1, 0, -1]])


def test_an_image_with_square_pixels_has_an_allowed_size_too() -> None:
    large = np.zeros((600, 1000), np.uint16)
    assert reason(content_of(large, PixelAspectRatio=[2, 1])).startswith("1000 x 1200 px is above")


def test_gray_with_a_wrong_label_of_its_colours_is_shown_as_gray() -> None:
    luminance = np.full((6, 8, 3), 128, np.uint8)
    luminance[..., 0] = GRAY
    decoded = image_formats.decode(content_of(luminance, BitsStored=8), 1)
    np.testing.assert_array_equal(decoded.pixels, GRAY)
    assert decoded.note == "photometric interpretation: RGB, shown as YBR_FULL"
    same = np.repeat(GRAY[..., None], 3, axis=2)
    for label in ("YBR_FULL", "YBR_RCT", "MONOCHROME2"):
        decoded = image_formats.decode(
            content_of(same, BitsStored=8, PhotometricInterpretation=label), 1
        )
        np.testing.assert_array_equal(decoded.pixels, GRAY)
    decoded = image_formats.decode(
        content_of(GRAY, BitsStored=8, PhotometricInterpretation="RGB"), 1
    )
    np.testing.assert_array_equal(decoded.pixels, GRAY)
    assert decoded.note == "photometric interpretation: RGB with 1 samples a pixel"


def test_an_image_in_colour_is_noted() -> None:
    colours = np.repeat(GRAY[..., None], 3, axis=2) // np.array([1, 2, 4], np.uint8)
    decoded = image_formats.decode(content_of(colours, BitsStored=8), 1)
    assert decoded.note == COLOURED


def test_three_planes_are_the_same_picture_as_three_samples_a_pixel() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    made = dataset(colour, BitsStored=8, PlanarConfiguration=1)
    made.PixelData = np.moveaxis(colour, 2, 0).tobytes()
    planes = image_formats.decode(written(made), 1).pixels
    np.testing.assert_array_equal(planes, shown(colour, BitsStored=8))


@pytest.mark.parametrize("gdcm_name", ["", "JPEGLosslessProcess14_1"])  # in a process of its own
def test_a_contradictory_polarity_is_noted_and_low_values_are_white(
    tmp_path: Path, gdcm_name: str
) -> None:
    content = content_of(PresentationLUTShape="INVERSE", WindowCenter=2000, WindowWidth=4000)
    content = transcoded(content, gdcm_name, tmp_path) if gdcm_name else content
    decoded = image_formats.decode(content, 1)
    expected = 255 - shown(WindowCenter=2000, WindowWidth=4000)
    np.testing.assert_array_equal(decoded.pixels, expected)
    assert decoded.note == "polarity: MONOCHROME2 with INVERSE, shown with low values white"


def test_a_rescale_of_slope_0_is_none() -> None:
    np.testing.assert_array_equal(shown(RescaleSlope="0", RescaleIntercept="5"), shown())


@pytest.mark.parametrize("keyword", ["FloatPixelData", "DoubleFloatPixelData"])
def test_pixels_of_floating_point_fill_the_range(keyword: str) -> None:
    made = dataset(RAMP)
    del made.PixelData
    values = RAMP.astype("f4" if keyword == "FloatPixelData" else "f8") / 7 - 100
    setattr(made, keyword, values.tobytes())
    made.BitsAllocated = 8 * values.itemsize
    for missing in ("BitsStored", "HighBit", "PixelRepresentation"):
        delattr(made, missing)
    np.testing.assert_array_equal(image_formats.decode(written(made), 1).pixels, shown())
    values[2, 2] = np.nan
    setattr(made, keyword, values.tobytes())
    assert reason(written(made)) == "holds values that are not numbers"


def test_baseline_jpeg_is_what_it_is_outside_of_dicom() -> None:
    frame = jpeg(GRAY, quality=95)
    content = encapsulated(frame, uid.JPEGBaseline8Bit, dataset(GRAY, BitsStored=8))
    np.testing.assert_array_equal(
        image_formats.decode(content, 1).pixels, image_formats.decode(frame, 1).pixels
    )


def test_big_endian_and_implicit_files_are_the_same_picture() -> None:
    made = dataset()
    made.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian
    np.testing.assert_array_equal(image_formats.decode(written(made), 1).pixels, shown())
    made = dataset(RAMP.byteswap())
    made.file_meta.TransferSyntaxUID = uid.ExplicitVRBigEndian
    made.set_original_encoding(is_implicit_vr=False, is_little_endian=False)
    decoded = image_formats.decode(written(made), 1)
    np.testing.assert_array_equal(decoded.pixels, shown())
    assert decoded.compression == "ExplicitVRBigEndian"


def test_a_data_set_without_preamble_and_meta_information_is_read() -> None:
    content = content_of()
    start = 144 + int.from_bytes(content[140:144], "little")
    np.testing.assert_array_equal(image_formats.decode(content[start:], 1).pixels, shown())


def directory() -> bytes:
    made = dataset()
    made.SOPClassUID = uid.MediaStorageDirectoryStorage
    return written(made)


def without(*keywords: str) -> bytes:
    made = dataset()
    for keyword in keywords:
        delattr(made, keyword)
    return written(made)


def mismatched(frame: bytes, syntax: uid.UID) -> bytes:
    return encapsulated(frame, syntax, dataset(GRAY, BitsStored=8))


LARGE = np.zeros((300, 400), np.uint8)
NO_IMAGE = "a DICOM file without an image, or one that is cut short"
refused: dict[str, tuple[Callable[[], bytes], str]] = {
    "a raw image": (
        lambda: content_of(PresentationIntentType="FOR PROCESSING"),
        "a raw image (FOR PROCESSING): export the one FOR PRESENTATION",
    ),
    "another modality": (
        lambda: content_of(SOPClassUID=uid.CTImageStorage),
        "CT Image is no radiograph",
    ),
    "several frames": (
        lambda: content_of(np.vstack([RAMP, RAMP]), Rows=6, NumberOfFrames=2),
        "holds several images: export one a file",
    ),
    "too large by its header": (
        lambda: content_of(Rows=30_000, Columns=30_000),
        "30000 x 30000 px is above ingest.maximum_megapixels = 1",
    ),
    "no rows": (lambda: content_of(Rows=0), "8 x 0 px is no image"),
    "a report": (lambda: without("PixelData", "Rows", "Columns"), NO_IMAGE),
    "no pixels": (lambda: without("PixelData"), "a DICOM file without its pixels"),
    "a directory": (directory, "a DICOM directory, no image"),
    "cut in its pixels": (lambda: content_of()[:-40], "its pixels are cut short"),
    "cut in its header": (lambda: content_of()[:260], NO_IMAGE),
    "a preamble alone": (lambda: bytes(128) + b"DICM", NO_IMAGE),
    "cut in compressed pixels": (
        lambda: mismatched(jpeg(LARGE), uid.JPEGBaseline8Bit)[:-100],
        NO_IMAGE,
    ),
    "a larger JPEG than the header tells": (
        lambda: mismatched(jpeg(LARGE), uid.JPEGBaseline8Bit),
        "its header tells of 8 x 6 px, its pixels of 400 x 300",
    ),
    "a larger JPEG 2000 than the header tells": (
        lambda: mismatched(jpeg_2000(LARGE), uid.JPEG2000Lossless),
        "its header tells of 8 x 6 px, its pixels of 400 x 300",
    ),
    "a JPEG in colour for a header of gray": (
        lambda: mismatched(jpeg(np.stack([GRAY] * 3, -1)), uid.JPEGBaseline8Bit),
        "its header tells of 1 samples a pixel, its pixels of 3",
    ),
    "a JPEG 2000 in colour for a header of gray": (
        lambda: mismatched(jpeg_2000(np.stack([GRAY] * 3, -1)), uid.JPEG2000Lossless),
        "its header tells of 1 samples a pixel, its pixels of 3",
    ),
    "half a JPEG": (
        lambda: mismatched(jpeg(GRAY)[:-30], uid.JPEGBaseline8Bit),
        "DICOM pixels cannot be decoded (JPEGBaseline8Bit: RuntimeError)",
    ),
    "a video": (
        lambda: mismatched(b"\0\0", uid.MPEG2MPML),
        "DICOM transfer syntax MPEG2MPML is not supported",
    ),
    "a transfer syntax of one's own": (
        lambda: mismatched(b"\0\0", uid.UID("1.2.3.4")),
        "DICOM transfer syntax unknown is not supported",
    ),
    "an unknown photometric interpretation": (
        lambda: content_of(PhotometricInterpretation="HSV"),
        "DICOM pixels that are none of MONOCHROME1, MONOCHROME2, PALETTE COLOR, RGB, "
        "YBR_FULL, YBR_FULL_422, YBR_ICT, YBR_RCT",
    ),
}


@pytest.mark.filterwarnings("ignore")  # of pydicom while the damaged file is made
@pytest.mark.parametrize("case", refused)
def test_what_is_no_usable_image_is_refused_with_its_reason(case: str) -> None:
    content, expected = refused[case]
    assert reason(content()) == expected


def test_a_deflated_bomb_is_not_unpacked() -> None:
    content = content_of()
    start = 144 + int.from_bytes(content[140:144], "little")
    made = dataset()
    made.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    header = written(made)
    begin = 144 + int.from_bytes(header[140:144], "little")
    filler = b"\x09\x00\x01\x10OB\0\0" + struct.pack("<I", 100 << 20) + bytes(100 << 20)
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = packer.compress(content[start:] + filler) + packer.flush()
    assert len(bomb) < 1 << 20
    assert reason(header[:begin] + bomb) == "unpacks to more than ingest.maximum_megapixels allows"


IDENTIFIERS: dict[str, Any] = {
    "PatientName": "Planted^Person",
    "PatientID": "PLANTED-4711",
    "PatientBirthDate": "19310203",
    "AccessionNumber": "PLANTEDACC77",
    "InstitutionName": "Planted Hospital",
    "InstitutionAddress": "Planted Street 1",
    "ReferringPhysicianName": "Planted^Doctor",
    "OtherPatientIDs": "PLANTED-0815",
}


def test_nothing_but_the_listed_elements_is_read() -> None:
    read = dicom.read(content_of(**IDENTIFIERS), 1)
    kept = {element.keyword for element in read}
    assert kept.isdisjoint(set(IDENTIFIERS) - {"PatientID"})
    assert kept <= {*dicom.KEYWORDS, "SpecificCharacterSet"}


def test_a_decoded_image_does_not_show_its_patient() -> None:
    decoded = image_formats.decode(content_of(**IDENTIFIERS), 1)
    assert decoded.patient == "PLANTED-4711"
    assert "PLANTED" not in repr(decoded).upper()


@pytest.mark.parametrize("step", [97, 211])
def test_no_damage_brings_an_identifier_into_a_reason_a_log_or_a_warning(
    step: int, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = content_of(**IDENTIFIERS)
    reasons = []
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for position in range(132, len(whole), step):
            for damaged in (whole[:position], with_byte(whole, position, 0xFF)):
                try:
                    image_formats.decode(damaged, 1)
                except UnreadableImage as error:
                    reasons.append(str(error))
    printed = capfd.readouterr()
    told = "\n".join([*reasons, caplog.text, printed.out, printed.err]).upper()
    assert reasons
    assert not caught
    assert all("\n" not in line for line in reasons)
    assert not [word for word in ("PLANTED", "19310203", "4711", "0815") if word in told]


def with_byte(content: bytes, position: int, value: int) -> bytes:
    return content[:position] + bytes([value]) + content[position + 1 :]


def test_values_that_break_their_own_rules_neither_warn_nor_cost_the_image(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = content_of(
            PatientID="PLANTED" * 20, PatientAge="old", PixelSpacing=["1", "1"], Laterality="LEFT"
        ).replace(b"old ", b"9\\^=")
    with caplog.at_level(logging.DEBUG):
        decoded = image_formats.decode(content, 1)
    assert np.isnan(decoded.age_years)
    assert decoded.side == ""
    assert "PLANTED" not in caplog.text


def test_a_report_within_an_item_is_no_image() -> None:
    made = dataset()
    nested = Dataset()
    nested.BitsAllocated, nested.PixelData = 16, made.PixelData
    made.IconImageSequence = [nested]
    del made.PixelData
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert reason(written(made)) == "a DICOM file without its pixels"
