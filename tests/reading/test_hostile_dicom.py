"""DICOM files that once brought a reader down, or gave pixels that depend on the processor."""

import numpy as np
import pytest

from knee.reading import dicom_lut, image_formats
from knee.reading.decoded import BLOCK_VALUES, UnreadableImage, blocks, stretched
from tests.reading.dicom_files import RAMP, dataset, dicom, written

GRAY = RAMP.astype(np.uint8)
COLOUR = np.dstack([GRAY] * 3)
PALETTE = {
    f"{colour}PaletteColorLookupTable{part}": value
    for colour in ("Red", "Green", "Blue")
    for part, value in (("Descriptor", [256, 0, 16]), ("Data", bytes(512)))
}


def reason(content: bytes) -> str:
    with pytest.raises(UnreadableImage) as raised:
        image_formats.decode(content, 1)
    return str(raised.value)


def test_a_palette_for_pixels_of_three_samples_is_refused() -> None:
    made = dataset(COLOUR, BitsStored=8)
    made.PhotometricInterpretation = "PALETTE COLOR"
    for keyword, value in PALETTE.items():
        setattr(made, keyword, value)
    assert "not the shape that its header tells of" in reason(written(made))


@pytest.mark.parametrize("slope", ["1e308", "-1e308"])
def test_a_rescale_beyond_all_numbers_is_refused(slope: str) -> None:
    assert reason(dicom(RescaleSlope=slope)) == "holds values that are not numbers"
    windowed = dicom(RescaleSlope=slope, WindowCenter=100, WindowWidth=50)
    assert reason(windowed) == "holds values that are not numbers"


def test_values_above_those_of_the_bits_are_white() -> None:
    pixels = dicom_lut.render(RAMP, dicom_lut.Display(bits=8), np.zeros(RAMP.shape, np.bool_))
    np.testing.assert_array_equal(pixels, np.minimum(RAMP, 255))


def test_floats_further_apart_than_a_number_can_say_are_refused() -> None:
    with pytest.raises(UnreadableImage, match="too far apart"):
        stretched(np.array([[-1.7e308, 1.7e308]]))


def test_floats_that_are_no_numbers_are_refused_with_a_window_too() -> None:
    stored = np.array([[0.0, np.nan]])
    window = dicom_lut.Window(0.0, 1.0, "LINEAR_EXACT")
    display = dicom_lut.Display(bits=32, interest=window)
    with pytest.raises(UnreadableImage, match="not numbers"):
        dicom_lut.render(stored, display, np.zeros((1, 2), np.bool_))


def test_blocks_cover_every_row_once_and_hold_a_bounded_number_of_values() -> None:
    for shape in ((1, 1), (5000, 3), (3000, 1000), (7, 2 * BLOCK_VALUES), (700, 900, 3)):
        taken = [np.arange(shape[0])[rows] for rows in blocks(shape)]
        np.testing.assert_array_equal(np.concatenate(taken), np.arange(shape[0]))
        row = int(np.prod(shape[1:]))
        assert all(len(rows) == 1 or len(rows) * row <= BLOCK_VALUES for rows in taken)


def test_a_picture_of_several_blocks_is_the_same_as_of_one() -> None:
    random = np.random.default_rng(0)
    deep = random.integers(0, 60_000, (1500, 1000))
    expected = np.rint((deep - deep.min()) * (255 / (deep.max() - deep.min())))
    np.testing.assert_array_equal(stretched(deep), expected)
    colour = random.integers(0, 256, (1500, 1000, 3), np.uint8)
    expected = np.rint(colour.astype(np.float64) @ np.array(dicom_lut.LUMA))
    np.testing.assert_array_equal(dicom_lut.luma(colour, 8), expected)
