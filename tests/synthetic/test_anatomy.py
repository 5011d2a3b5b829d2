from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knee.synthetic.anatomy import BoneQuality, bone_quality, paths, physique
from knee.synthetic.outlines import FEMUR_LATERAL, axis, index, table


def quality(t_score: float, seed: int = 0) -> BoneQuality:
    return bone_quality(t_score, np.random.default_rng(seed))


def rays(x: list[float], y: list[float]) -> tuple[Any, Any]:
    return np.array([x], dtype=np.float32), np.array([y], dtype=np.float32)


@given(st.floats(-4.4, 1.0), st.floats(0.2, 1.0), st.integers(0, 100))
def test_denser_bone_has_more_cortex_mineral_and_filling(
    t_score: float, gain: float, seed: int
) -> None:
    weak, strong = quality(t_score, seed), quality(t_score + gain, seed)
    assert strong.cortex_mm > weak.cortex_mm > 0
    assert strong.mineral > weak.mineral > 0
    assert strong.filling > weak.filling > 0


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.floats(-4.5, 1.8))
def test_every_length_is_finite_and_never_negative(seed: int, t_score: float) -> None:
    random = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(-130, 130, 53), np.linspace(-300, 300, 61))
    crossed = paths(x.astype(np.float32), y.astype(np.float32), physique(random), quality(t_score))
    for name in ("muscle", "fat", "cortex", "core", "bone"):
        lengths = getattr(crossed, name)
        assert np.isfinite(lengths).all(), name
        assert lengths.min() >= -1e-3, name


@pytest.mark.parametrize("seed", range(5))
def test_only_the_lateral_side_has_a_fibula(seed: int) -> None:
    body = physique(np.random.default_rng(seed))
    lateral, medial = [np.arange(20.0, 45.0), -np.arange(20.0, 45.0)]
    lengths = []
    for side in (lateral, medial):
        x, y = rays(side.tolist(), [110.0] * side.size)
        lengths.append(paths(x, y, body, quality(0)).bone.max())
    assert lengths[0] > 5
    assert lengths[1] == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_joint_space_is_free_of_bone(seed: int) -> None:
    body = physique(np.random.default_rng(seed))
    x, y = rays([-22.0, 22.0] * 2, [-14.0, -14.0, 20.0, 20.0])
    assert paths(x, y, body, quality(0)).bone.min() > 20
    x, y = rays([-22.0, 22.0], [0.3, 0.3])
    assert paths(x, y, body, quality(0)).bone.max() < 8


def test_a_shaft_shows_more_cortex_at_its_edges_than_in_its_middle() -> None:
    body = physique(np.random.default_rng(1))
    x = np.linspace(-60, 60, 241, dtype=np.float32)[None, :]
    cortex = paths(x, np.full_like(x, 170.0), body, quality(0)).cortex[0]
    tibia = np.flatnonzero(cortex[:145] > 0)
    middle = cortex[(tibia[0] + tibia[-1]) // 2]
    assert cortex[tibia].max() > 1.3 * middle > 0


def test_a_table_follows_its_points_and_is_constant_beyond_them() -> None:
    values = table(FEMUR_LATERAL)
    assert values.size == axis().size
    at = index(np.array([-300.0, -22.0, 300.0], dtype=np.float32))
    np.testing.assert_allclose(values[at], [14.5, 40, 35], atol=0.6)


def test_places_outside_a_table_are_clipped_to_its_ends() -> None:
    at = index(np.array([-1e4, 1e4], dtype=np.float32))
    assert at.tolist() == [0, axis().size - 1]
