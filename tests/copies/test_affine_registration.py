"""Registration: known maps are recovered, agreement is Pearson's, brightness does not matter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from knee.copies import affine_registration
from knee.copies.affine_registration import AffineMaps, Layer
from tests.copies.pictures import picture

SIDE = 48
IDENTITY = np.eye(2, 3)[None]


def layer(seed: int) -> Layer:
    smooth = gaussian_filter(picture(seed, SIDE).astype(np.float32), 2)[None]
    return Layer(smooth, np.ones_like(smooth))


def moved(moving: Layer, maps: AffineMaps) -> Layer:
    values, inside = affine_registration.warp(moving, maps)
    return Layer(values.reshape(1, SIDE, SIDE), inside.reshape(1, SIDE, SIDE))


def stacked(layers: list[Layer]) -> Layer:
    values, seen = zip(*((one.values, one.seen) for one in layers), strict=True)
    return Layer(np.concatenate(values), np.concatenate(seen))


def test_the_identity_shows_the_image_itself() -> None:
    values, inside = affine_registration.warp(layer(0), IDENTITY)
    np.testing.assert_allclose(values, layer(0).values.reshape(1, -1), atol=0.1)
    assert inside.all()


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e30])
def test_a_map_that_ran_away_shows_nothing_and_its_values_are_numbers(number: float) -> None:
    maps = IDENTITY.copy()
    maps[0, 0, 2] = number
    values, inside = affine_registration.warp(layer(0), maps)
    assert np.isfinite(values).all()
    assert not inside.any()


@given(
    st.floats(-0.06, 0.06), st.floats(-0.06, 0.06), st.floats(-0.05, 0.05), st.floats(-0.05, 0.05)
)
def test_a_small_known_map_is_recovered(
    stretch: float, shear: float, right: float, down: float
) -> None:
    known = np.array([[[1 + stretch, shear, right], [-shear, 1 - stretch, down]]])
    fixed = moved(layer(1), known)
    found = affine_registration.refine(fixed, layer(1), IDENTITY, 15)
    np.testing.assert_allclose(found, known, atol=0.02)
    assert affine_registration.agreement(fixed, layer(1), found).whole[0] > 0.995


def test_gain_and_offset_change_nothing() -> None:
    known = np.array([[[1.0, 0.05, 0.03], [-0.05, 1.0, 0.0]]])
    fixed = moved(layer(2), known)
    other = Layer(fixed.values * np.float32(0.5) + 30, fixed.seen)
    one, two = (
        affine_registration.refine(image, layer(2), IDENTITY, 15) for image in (fixed, other)
    )
    np.testing.assert_allclose(one, two, atol=1e-3)
    assert affine_registration.agreement(other, layer(2), two).whole[0] > 0.995


def test_a_pair_is_registered_the_same_alone_and_among_others() -> None:
    pairs = [layer(seed) for seed in range(4)]
    known = np.array([[[1.0, 0.05, 0.03], [-0.05, 1.0, 0.0]]])
    fixed = [moved(image, known) for image in pairs]
    together = affine_registration.refine(
        stacked(fixed), stacked(pairs), IDENTITY.repeat(4, axis=0), 5
    )
    for number, (one, two) in enumerate(zip(fixed, pairs, strict=True)):
        alone = affine_registration.refine(one, two, IDENTITY, 5)
        np.testing.assert_allclose(alone[0], together[number], atol=1e-6)


@given(st.integers(0, 50))
def test_agreement_over_the_whole_is_pearsons(seed: int) -> None:
    one, two = layer(seed), layer(seed + 1)
    expected = np.corrcoef(one.values.ravel(), two.values.ravel())[0, 1]
    found = affine_registration.agreement(one, two, IDENTITY)
    assert found.whole[0] == pytest.approx(expected, abs=1e-3)
    assert found.overlap[0] == 1


def test_what_is_not_seen_does_not_count() -> None:
    image = layer(3)
    damaged = image.values.copy()
    damaged[:, :20] = 250
    seen = np.ones_like(damaged)
    seen[:, :20] = 0
    found = affine_registration.agreement(Layer(damaged, seen), image, IDENTITY)
    assert found.whole[0] > 0.999
    assert found.overlap[0] == pytest.approx(28 / 48)
    assert (
        affine_registration.agreement(Layer(damaged, np.ones_like(seen)), image, IDENTITY).whole[0]
        < 0.9
    )


def test_constant_images_and_far_maps_agree_with_nothing() -> None:
    blank = Layer(np.full((1, SIDE, SIDE), 9, np.float32), np.ones((1, SIDE, SIDE), np.float32))
    found = affine_registration.agreement(blank, layer(0), IDENTITY)
    assert (found.whole[0], found.local[0]) == (0, 0)
    away = IDENTITY + np.array([[[0, 0, 50.0], [0, 0, 0]]])
    assert affine_registration.agreement(layer(0), layer(0), away).overlap[0] == 0
    assert np.isfinite(affine_registration.refine(blank, layer(0), IDENTITY, 3)).all()


@given(st.floats(0.5, 2), st.floats(-1, 1), st.floats(-1, 1))
def test_a_map_and_its_inverse_cancel(scale: float, turn: float, shift: float) -> None:
    maps = np.array([[[scale, turn, shift], [-turn, scale, -shift]]])
    there_and_back = affine_registration.composed(affine_registration.inverted(maps), maps)
    np.testing.assert_allclose(there_and_back, IDENTITY, atol=1e-9)
