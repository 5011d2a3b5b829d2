from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array

from knee.reading import dicom, dicom_header
from knee.reading.dicom_lut import Display, Lookup, Window, luma, render
from tests.reading.dicom_files import RAMP, dataset, table

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
