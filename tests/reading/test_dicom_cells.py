import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from knee.reading import dicom_cells
from tests.reading.dicom_files import header


@given(st.integers(1, 16), st.integers(0, 15), st.booleans(), st.integers(0, 2**32 - 1))
def test_stored_values_are_the_bits_up_to_high_bit(
    stored: int, above: int, signed: bool, seed: int
) -> None:
    high = min(stored - 1 + above, 15)
    random = np.random.default_rng(seed)
    least = -(2 ** (stored - 1)) if signed else 0
    values = random.integers(least, least + 2**stored, (8, 9))
    values[0, 0] = least + 2**stored - 1 if not signed else least  # all bits are needed
    below = high + 1 - stored
    beside = random.integers(0, 2**16, (8, 9))
    mask = ((1 << stored) - 1) << below
    cells = ((values << below) & mask) | (beside & ~mask & 0xFFFF)
    made = header(
        BitsAllocated=16, BitsStored=stored, HighBit=high, PixelRepresentation=int(signed)
    )
    for kind in (np.uint16, np.int16):
        found, _ = dicom_cells.stored_values(made, cells.astype(kind), None)
        if cells.max() >= 2**stored:
            np.testing.assert_array_equal(found, values)


def test_bits_beside_the_value_are_noted_and_a_continued_sign_is_not() -> None:
    made = header(BitsAllocated=16, BitsStored=12, HighBit=11, PixelRepresentation=1)
    for cells, noted in (
        ([-2000, 5], []),  # the sign continued
        ([2096, 5], []),  # the same value, with zeros above
        ([0x1005, 5], ["bits above High Bit: left out, as an overlay"]),
    ):
        found, notes = dicom_cells.stored_values(made, np.array([cells], np.int16), None)
        assert notes == noted
        assert found.tolist() == [[5 if noted else -2000, 5]]


def test_a_high_bit_that_the_values_contradict_is_noted_and_left_out() -> None:
    cells = np.array([[1, 2, 4095]], np.uint16)
    made = header(BitsAllocated=16, BitsStored=12, HighBit=15, PixelRepresentation=0)
    found, notes = dicom_cells.stored_values(made, cells, None)
    assert found.tolist() == cells.tolist()
    assert notes == ["High Bit: 15 of 12 bits, shown as 11"]
    found, notes = dicom_cells.stored_values(made, cells * 16, None)
    assert (found.tolist(), notes) == (cells.tolist(), [])
    found, notes = dicom_cells.stored_values(made, cells, 12)  # a codestream of 12 bits
    assert (found.tolist(), notes) == (cells.tolist(), [])


@pytest.mark.parametrize("high", [None, 0, 5, 16, 99])
def test_an_impossible_high_bit_is_that_of_right_aligned_values(high: int | None) -> None:
    made = header(BitsAllocated=16, BitsStored=12, HighBit=high, PixelRepresentation=0)
    found, notes = dicom_cells.stored_values(made, np.array([[0xF005]], np.uint16), None)
    assert found.tolist() == [[5]]
    assert notes


@pytest.mark.parametrize(
    ("kind", "value", "limit", "expected"),
    [
        (np.int16, -2000, None, [1, 0, 0, 0]),
        (np.int16, 63_536, None, [1, 0, 0, 0]),  # -2000 in the other sign
        (np.int16, 63_536, 65_535, [1, 1, 0, 0]),
        (np.int16, -1, 63_536, [1, 1, 0, 0]),
        (np.uint16, -1, None, [0, 1, 0, 0]),
        (np.uint16, 65_535, 63_536, [1, 1, 0, 0]),
        (np.uint16, -2000, -1, [1, 1, 0, 0]),
        (np.uint16, 7, 0, [0, 0, 1, 1]),
        (np.float32, 7, None, [0, 0, 0, 1]),
    ],
)
def test_padding_is_found_in_either_sign(
    kind: type[np.generic], value: int, limit: int | None, expected: list[int]
) -> None:
    stored = np.array([[-2000, -1, 0, 7]]).astype(kind)
    made = Dataset()
    made.add_new("PixelPaddingValue", "SS" if value < 0 else "US", value)
    if limit is not None:
        made.add_new("PixelPaddingRangeLimit", "SS" if limit < 0 else "US", limit)
    found = dicom_cells.padding(made, stored, stored)
    assert found.tolist() == [[bool(one) for one in expected]]


def test_padding_may_be_a_cell_of_more_bits_than_a_value() -> None:
    made = header(
        BitsAllocated=16, BitsStored=12, HighBit=11, PixelRepresentation=0, PixelPaddingValue=0xF830
    )
    cells = np.array([[0xF830, 0x0830, 5]], np.uint16)
    stored, _ = dicom_cells.stored_values(made, cells, None)
    assert dicom_cells.padding(made, stored, cells).tolist() == [[True, False, False]]
