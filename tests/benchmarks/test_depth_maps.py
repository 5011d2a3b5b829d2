"""Inputs that are tried: what each does to a film."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import depth_maps

FILM = np.random.default_rng(0).integers(60, 90, (64, 64)).astype(np.uint8)


@pytest.mark.parametrize("name", ["equalised", "standardised"])
def test_contrast_of_a_flat_film_is_raised_in_place(name: str) -> None:
    changed = depth_maps.INPUTS[name](FILM)
    assert changed.shape == FILM.shape
    assert changed.dtype == np.uint8
    assert changed.std() > 1.5 * FILM.std()
    assert np.corrcoef(changed.ravel(), FILM.ravel())[0, 1] > 0.8


def test_a_black_film_stays_in_range() -> None:
    black = np.zeros((64, 64), np.uint8)
    for name, change in depth_maps.INPUTS.items():
        assert change(black).dtype == np.uint8, name


def test_cropping_takes_black_bars_away_and_the_joint_is_the_middle() -> None:
    barred = FILM.copy()
    barred[:12], barred[-12:] = 0, 0
    square = depth_maps.cropped(barred)
    assert square.shape == (64, 64)
    np.testing.assert_array_equal(square[12:-12], FILM[12:-12])
    wide = np.zeros((80, 80), np.uint8)
    wide[10:70, 10:70] = FILM[:60, :60]
    assert depth_maps.cropped(wide).shape == (60, 60)
    np.testing.assert_array_equal(depth_maps.joint(FILM), FILM[8:-8, 8:-8])
