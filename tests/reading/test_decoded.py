import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knee.reading.decoded import SAMPLE_VALUES, own_range, sampled, stretched

RAMP = np.linspace(200, 3770, 10_000).round().astype(np.uint16).reshape(100, 100)
SEEDS = st.integers(0, 2**32 - 1)


@given(
    SEEDS,
    st.sampled_from([np.int16, np.int32, np.float32, np.float64]),
    st.integers(0, 190),
    st.integers(0, 190),
    st.integers(8000, 32_000),
)
def test_a_few_values_far_away_do_not_take_the_range(
    seed: int, kind: type[np.generic], dead: int, hot: int, far: int
) -> None:
    values = np.random.default_rng(seed).permutation(RAMP.ravel()).astype(kind)
    values[:dead], values[dead : dead + hot] = -far, far
    rest = values[dead + hot :]
    assert own_range(values) == (rest.min(), rest.max())


def test_hot_pixels_leave_the_rest_as_without_them() -> None:
    hot = RAMP.copy()
    hot[50, 3] = hot[60, 9] = 65_535
    expected = np.rint((RAMP - 200.0) * 255 / 3570)
    expected[50, 3] = expected[60, 9] = 255
    np.testing.assert_array_equal(stretched(hot), expected)


def test_dead_pixels_far_below_are_black() -> None:
    dead = RAMP + np.uint16(40_000)
    dead[50, 3] = 0
    assert own_range(dead) == (40_200, 43_770)
    assert stretched(dead)[50, 3] == 0


def test_a_burnt_in_marker_of_two_percent_is_white() -> None:
    marked = RAMP.copy()
    marked[70:80, 60:80] = 65_535
    assert own_range(marked) == (200, 3770)


@given(SEEDS, st.integers(2, 16), st.floats(0.1, 3))
def test_ordinary_images_keep_their_whole_range(seed: int, bits: int, gamma: float) -> None:
    random = np.random.default_rng(seed)
    values = (random.random((60, 60)) ** gamma * (2**bits - 1)).astype(np.uint16)
    assert own_range(values) == (values.min(), values.max())


def test_what_is_no_small_part_keeps_its_place_in_the_range() -> None:
    half = RAMP.copy()
    half[:5] = 65_535  # 5 %: metal, or a label
    assert own_range(half) == (RAMP[5:].min(), 65_535)


@pytest.mark.parametrize("value", [0, 7, 65_535])
def test_one_gray_value_and_a_few_others_keep_their_range(value: int) -> None:
    flat = np.full((20, 20), value, np.uint16)
    assert own_range(flat) == (value, value)
    flat[3, 3] = 1000
    assert own_range(flat) == (min(value, 1000), max(value, 1000))


def test_large_images_are_sampled_evenly() -> None:
    large = np.arange(5 * SAMPLE_VALUES + 3).reshape(1, -1)
    assert SAMPLE_VALUES <= sampled(large).size < 2 * SAMPLE_VALUES
    large[0, 17] = 10**9
    assert own_range(large) == (0, large.size - 1)
