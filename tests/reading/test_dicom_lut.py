import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels import (
    apply_modality_lut,
    apply_presentation_lut,
    apply_voi_lut,
    pixel_array,
)
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from knee.reading import dicom, dicom_cells, dicom_header, image_formats
from knee.reading.dicom_lut import Display, Lookup, Window, luma, render
from tests.reading.dicom_files import RAMP, dataset, table, written
from tests.reading.dicom_files import dicom as content_of

NO_PADDING = np.zeros(RAMP.shape, np.bool_)


@given(
    st.floats(-500, 5000),
    st.floats(1, 5000),
    st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
)
def test_windows_are_those_of_pydicom(center: float, width: float, function: str) -> None:
    made = dataset(
        WindowCenter=f"{center:.6f}", WindowWidth=f"{width:.6f}", VOILUTFunction=function
    )
    with np.errstate(over="ignore"):
        theirs = apply_voi_lut(RAMP, made) / 4095 * 255
    ours = render(RAMP, dicom_header.display(made), NO_PADDING)
    edge = np.abs(RAMP - (float(made.WindowCenter) - 0.5)) < 1e-3  # one pixel wide: a step
    assert np.abs(ours - theirs)[~edge].max() <= 0.5 + 1e-6


@given(st.integers(0, 4000), st.integers(2, 300), st.integers(0, 99))
def test_tables_are_those_of_pydicom(first: int, count: int, seed: int) -> None:
    entries = np.random.default_rng(seed).integers(0, 65_536, count).astype(np.uint16)
    entries[:2] = (0, 65_535)  # the whole range, so that both scale it alike
    made = dataset(VOILUTSequence=table(entries, first))
    theirs = apply_voi_lut(RAMP, made).astype(np.float64) / 65_535 * 255
    ours = render(RAMP, dicom_header.display(made), NO_PADDING)
    assert np.abs(ours - theirs).max() <= 0.5 + 1e-6
    made = dataset(ModalityLUTSequence=table(entries, first), WindowCenter=3e4, WindowWidth=5e4)
    theirs = apply_voi_lut(apply_modality_lut(RAMP, made), made) / 65_535 * 255
    ours = render(RAMP, dicom_header.display(made), NO_PADDING)
    assert np.abs(ours - theirs).max() <= 0.5 + 1e-6


@pytest.mark.filterwarnings("ignore")  # of pydicom about its files
def test_files_of_pydicom_are_shown_as_pydicom_shows_them() -> None:
    compared = 0
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            read = dicom.read(path.read_bytes(), 64)
            stored = pixel_array(read)
            display = dicom_header.display(read)
        except Exception:  # damaged on purpose, or in a syntax without decoder
            continue
        if stored.ndim != 2 or display.interest is None:
            continue
        bits = display.bits - display.signed
        range_ = np.array([-(2**bits) * display.signed, 2**bits - 1], np.float64)
        if "RescaleSlope" in read:
            range_ = range_ * float(read.RescaleSlope) + float(read.RescaleIntercept)
        theirs = apply_voi_lut(apply_modality_lut(stored, read), read).astype(np.float64)
        theirs = np.rint((theirs - range_[0]) * (255 / (range_[1] - range_[0])))
        ours = render(stored, display, np.zeros(stored.shape, np.bool_))
        np.testing.assert_array_equal(ours, 255 - theirs if display.inverted else theirs)
        compared += 1
    assert compared > 30


def test_a_first_value_below_zero_is_reached() -> None:
    lookup = Lookup(-2, np.array([10, 20, 30, 40]))
    assert lookup(np.array([-9.0, -2, -1, 0, 1, 9])).tolist() == [10, 10, 20, 30, 40, 40]


@pytest.mark.parametrize(
    ("center", "width", "function", "usable"),
    [
        (0, 1, "LINEAR", True),
        (0, 0.5, "LINEAR", False),
        (0, 0.5, "LINEAR_EXACT", True),
        (0, 0, "SIGMOID", False),
        (np.nan, 5, "LINEAR", False),
        (0, np.nan, "LINEAR", False),
    ],
)
def test_only_windows_that_the_standard_allows_are_used(
    center: float, width: float, function: str, usable: bool
) -> None:
    assert Window(center, width, function).usable == usable


def test_a_window_of_one_value_is_a_step() -> None:
    stored = np.array([[9, 10, 11]], np.uint16)
    pixels = render(stored, Display(12, interest=Window(10.5, 1)), np.zeros((1, 3), np.bool_))
    assert pixels.tolist() == [[0, 0, 255]]


def test_values_beyond_16_bits_are_shown_as_those_within() -> None:
    display = Display(32, interest=Window(2000, 3000))
    wide = render(RAMP.astype(np.float32), display, NO_PADDING)
    np.testing.assert_array_equal(wide, render(RAMP, display, NO_PADDING))
    large = render(RAMP.astype(np.uint32) * 1_000_000, Display(32), NO_PADDING)
    np.testing.assert_array_equal(large, render(RAMP, Display(12), NO_PADDING))


def test_all_padding_is_no_padding() -> None:
    padding = np.ones(RAMP.shape, np.bool_)
    np.testing.assert_array_equal(
        render(RAMP, Display(12), padding), render(RAMP, Display(12), NO_PADDING)
    )


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_white_is_white_at_any_depth(bits: int) -> None:
    colour = np.full((2, 2, 3), 2**bits - 1, np.uint16)
    assert (luma(colour, bits) == 255).all()


SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)


def table_in_a_file(
    keyword: str,
    stored: npt.NDArray[Any],
    descriptor: tuple[int, int, int],
    words: npt.NDArray[np.uint16],
    syntax: UID,
    representations: tuple[str, str],
) -> bytes:
    """A file with a lookup table, its descriptor and entries in these value representations."""
    order = "<" if syntax.is_little_endian else ">"
    made = dataset(stored.astype(f"{order}{stored.dtype.str[1:]}"), BitsStored=16)
    made.file_meta.TransferSyntaxUID = syntax
    made.set_original_encoding(syntax.is_implicit_VR, syntax.is_little_endian)
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [number % 65536 for number in descriptor])
    of_descriptor, of_entries = representations
    values: Any = words.tolist()
    if of_entries == "OW":
        values = words.astype(f"{order}u2").tobytes()
    elif of_entries == "SS":
        values = words.astype(np.int16).tolist()
    item.add_new("LUTData", of_entries, values)
    setattr(made, keyword, [item])
    tag = np.array([0x0028, 0x3002], f"{order}u2").tobytes()
    content = written(made)
    assert syntax.is_implicit_VR or content.count(tag + b"US") == 1
    return content.replace(tag + b"US", tag + of_descriptor.encode())


@given(
    st.sampled_from(SYNTAXES),
    st.sampled_from(["VOILUTSequence", "ModalityLUTSequence"]),
    st.sampled_from([np.int16, np.uint16]),
    st.tuples(st.sampled_from(["US", "SS"]), st.sampled_from(["US", "SS", "OW"])),
    st.data(),
)
@settings(deadline=None, max_examples=150)
def test_a_tables_first_value_has_the_sign_of_what_goes_in(
    syntax: UID,
    keyword: str,
    kind: type[np.generic],
    representations: tuple[str, str],
    data: st.DataObject,
) -> None:
    limits = np.iinfo(kind)  # type: ignore[type-var]
    first = data.draw(st.integers(limits.min, limits.max - 600))
    count = data.draw(st.integers(300, 600))
    stored = np.arange(first, first + 48, dtype=np.int64).reshape(6, 8).astype(kind)
    stored[1:] += kind(data.draw(st.integers(0, count - 48)))
    words = np.linspace(0, 65_535, count).round().astype(np.uint16)
    words = np.random.default_rng(count).permutation(words)
    descriptor = (count, first, 16)
    content = table_in_a_file(keyword, stored, descriptor, words, syntax, representations)
    expected = words[stored.astype(np.int64) - first].astype(np.float64)
    read = dicom.read(content, 1)
    display = dicom_header.display(read)
    if keyword == "ModalityLUTSequence":
        display = dataclasses.replace(display, interest=Window(32_768, 65_536))
    shown = render(stored, display, np.zeros(stored.shape, np.bool_))
    assert np.abs(shown - expected / 65_535 * 255).max() <= 0.51


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("vr", ["US", "OW"])
@pytest.mark.parametrize("count", [255, 256])
def test_entries_of_8_bits_may_share_words(syntax: UID, vr: str, count: int) -> None:
    entries = np.random.default_rng(1).integers(0, 256, count + count % 2).astype(np.uint8)
    entries[0] = 255
    stored = np.arange(240, dtype=np.uint16).reshape(15, 16)
    for words in (entries.view("<u2"), entries[:count].astype(np.uint16)):
        content = table_in_a_file(
            "VOILUTSequence", stored, (count, 0, 8), words, syntax, ("US", vr)
        )
        shown = image_formats.decode(content, 1)
        np.testing.assert_array_equal(shown.pixels, entries[:count][stored])
        assert shown.note == ""


@pytest.mark.parametrize("vr", ["US", "SS"])
def test_a_count_of_0_is_65536_entries_and_one_below_0_is_of_the_other_sign(vr: str) -> None:
    stored = (np.arange(48, dtype=np.uint16) * 1365).reshape(6, 8)
    for count in (65_536, 40_000):
        words = np.linspace(65_535, 0, count).round().astype(np.uint16)
        content = table_in_a_file(
            "VOILUTSequence", stored, (count, 0, 16), words, ExplicitVRLittleEndian, (vr, "OW")
        )
        expected = words[np.minimum(stored, count - 1)].astype(np.float64) / 65_535 * 255
        shown = image_formats.decode(content, 1)
        assert np.abs(shown.pixels - expected).max() <= 0.51


def test_a_table_cut_short_ends_with_its_last_entry() -> None:
    words = np.arange(0, 64_000, 64).astype(np.uint16)  # 1000 of 4096
    made = dataset(VOILUTSequence=table(words, 0))
    made.VOILUTSequence[0].LUTDescriptor = [4096, 0, 16]
    display = dicom_header.display(made)
    expected = words[np.minimum(RAMP, 999)].astype(np.float64) / 65_535 * 255
    assert np.abs(render(RAMP, display, NO_PADDING) - expected).max() <= 0.51


@pytest.mark.parametrize(
    ("entries", "bits", "ends"),
    [
        ([100, 3000], 12, (0, 4095)),
        ([100, 3000], 16, (100, 3000)),  # the header errs
        ([100, 5000], 12, (100, 5000)),
        ([0, 255], 8, (0, 255)),
    ],
)
def test_black_and_white_are_those_of_the_bits_that_the_entries_need(
    entries: list[int], bits: int, ends: tuple[int, int]
) -> None:
    assert Lookup(0, np.array(entries), bits).ends == ends


def test_a_table_whose_values_are_not_reached_by_its_sign_is_taken_with_the_other() -> None:
    lookup = Lookup(65_436, np.array([10, 20, 30] * 50))  # -100: no value is as large as 65436
    assert lookup(np.array([0.0, 1, 2])).tolist() == [20, 30, 10]


BOGUS: list[tuple[str, dict[str, Any]]] = [
    ("far above", {"WindowCenter": 30_000, "WindowWidth": 100}),
    ("far below", {"WindowCenter": -30_000, "WindowWidth": 100}),
    ("one value wide", {"WindowCenter": 2000, "WindowWidth": 1}),
    ("far too wide", {"WindowCenter": 2000, "WindowWidth": 1_000_000}),
    ("sigmoid", {"WindowCenter": 30_000, "WindowWidth": 100, "VOILUTFunction": "SIGMOID"}),
    ("a table", {"VOILUTSequence": table(np.full(4096, 9, np.uint16), 0)}),
    ("a table elsewhere", {"VOILUTSequence": table(np.arange(9, dtype=np.uint16), 9000, 16)}),
]


@pytest.mark.parametrize("elements", [one for _, one in BOGUS], ids=[name for name, _ in BOGUS])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_window_that_leaves_nothing_gives_way_to_the_range(
    elements: dict[str, Any], photometric: str
) -> None:
    decoded = image_formats.decode(content_of(PhotometricInterpretation=photometric, **elements), 1)
    expected = np.rint((RAMP - 20.0) * 255 / (47 * 85))
    expected = 255 - expected if photometric == "MONOCHROME1" else expected
    np.testing.assert_array_equal(decoded.pixels, expected)
    assert decoded.note == "window: leaves nearly nothing, shown by its own range"


@pytest.mark.parametrize("stored", [np.zeros_like(RAMP), (RAMP > 2000).astype(np.uint16)])
def test_an_image_of_nothing_keeps_its_window(stored: npt.NDArray[np.uint16]) -> None:
    decoded = image_formats.decode(content_of(stored, WindowCenter=1, WindowWidth=2), 1)
    assert decoded.note == ""


def test_a_window_that_is_none_is_noted() -> None:
    decoded = image_formats.decode(content_of(WindowCenter=1000, WindowWidth=0.5), 1)
    assert decoded.note == "window: none that the standard allows, shown by its own range"
    decoded = image_formats.decode(content_of(WindowCenter=None, WindowWidth=None), 1)
    assert decoded.note == ""


@given(st.integers(-30, 0), st.integers(-1000, 1000), st.booleans())
def test_padding_under_a_rescale_is_black_and_out_of_the_range(
    slope: int, intercept: int, falling: bool
) -> None:
    slope = slope if falling else -slope
    stored = RAMP.astype(np.int16) - 2048
    stored[0] = -30_000
    made = dataset(
        stored,
        BitsStored=16,
        PixelPaddingValue=-30_000,
        RescaleSlope=slope,
        RescaleIntercept=intercept,
    )
    padding = dicom_cells.padding(made, stored, stored)
    shown = render(stored, dicom_header.display(made), padding)
    part = (stored[1:] - stored[1:].min()) / float(np.ptp(stored[1:].astype(int))) * 255
    assert not shown[0].any()
    expected = 255 - part if slope < 0 else part
    assert np.abs(shown[1:] - expected).max() <= 0.51


def test_hot_pixels_do_not_take_the_range_in_either_polarity() -> None:
    wide = np.tile(RAMP, (8, 8))
    hot = wide.copy()
    hot[3, 3] = hot[9, 7] = 65_535
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        plain, marked = (
            image_formats.decode(
                content_of(one, BitsStored=16, PhotometricInterpretation=photometric), 1
            ).pixels
            for one in (wide, hot)
        )
        white = 0 if photometric == "MONOCHROME1" else 255
        assert marked[3, 3] == marked[9, 7] == white
        different = plain != marked
        assert different.sum() <= 2


@pytest.mark.parametrize("shape", ["IDENTITY", "INVERSE"])
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT"])
def test_the_shape_of_the_presentation_table_is_that_of_pydicom(shape: str, function: str) -> None:
    made = dataset(
        WindowCenter=2000, WindowWidth=2500, VOILUTFunction=function, PresentationLUTShape=shape
    )
    theirs = apply_presentation_lut(apply_voi_lut(RAMP, made), made) / 4095 * 255
    ours = render(RAMP, dicom_header.display(made), NO_PADDING)
    assert np.abs(ours - theirs).max() <= 0.5 + 1e-6
