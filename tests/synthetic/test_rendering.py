import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from knee.synthetic.anatomy import Physique, bone_quality, physique
from knee.synthetic.rendering import (
    Acquisition,
    View,
    bone_mask,
    develop,
    draw_acquisition,
    expose,
)

SEEDS = range(4)


def make_film(seed: int, view: View = "close-up") -> tuple[Acquisition, Physique]:
    random = np.random.default_rng(seed)
    body = physique(random)
    return draw_acquisition(view, "L", 160, body, random), body


def shoot(film: Acquisition, body: Physique, t_score: float) -> NDArray[np.float32]:
    bone = bone_quality(t_score, np.random.default_rng(7))
    return develop(film, expose(film, body, bone), bone, np.random.default_rng(8))


@pytest.mark.parametrize("seed", SEEDS)
def test_gray_values_fill_the_film_from_black_to_white(seed: int) -> None:
    film, body = make_film(seed)
    gray = shoot(film, body, 0.5)
    assert gray.shape == (film.height, film.width)
    assert gray.dtype == np.float32
    assert 0 <= gray.min() < 0.08
    assert 0.7 < gray.max() <= 1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("view", ["close-up", "whole-leg"])
def test_denser_bone_is_brighter_at_the_same_exposure(seed: int, view: View) -> None:
    film, body = make_film(seed, view)
    means = [shoot(film, body, t_score).mean() for t_score in (-3.6, -1.8, 0.4)]
    assert means == sorted(means)
    assert means[2] > means[0] * 1.04


@pytest.mark.parametrize("seed", SEEDS)
def test_film_settings_do_not_depend_on_bone_density(seed: int) -> None:
    films = []
    for t_score in (-4.0, 1.0):
        random = np.random.default_rng(seed)
        body = physique(random)
        bone_quality(t_score, random)
        films.append(draw_acquisition("close-up", "R", 160, body, random))
    assert films[0] == films[1]


def test_a_right_knee_mirrors_a_left_one_but_for_its_marker() -> None:
    film, body = make_film(3)
    film = dataclasses.replace(
        film, noise=0.0, margins=(0, 0, 0, 0), collimator_degrees=0.0, scatter=0.0
    )
    left = shoot(film, body, 0)
    right = shoot(dataclasses.replace(film, side="R"), body, 0)
    differs = np.abs(left - right[:, ::-1]) > 0.02
    assert differs.any(), "the letters L and R are not mirror images"
    assert differs.mean() < 0.02


def test_outside_the_collimated_field_the_film_is_black() -> None:
    film, body = make_film(0)
    film = dataclasses.replace(
        film, margins=(0.1, 0.1, 0.1, 0.1), collimator_degrees=0.0, bright_edge=False
    )
    gray = shoot(film, body, 0)
    ring = np.concatenate([gray[:10].ravel(), gray[:, :10].ravel()])
    assert ring.max() < 0.02


def test_a_whole_leg_is_taller_and_covers_more_than_a_close_up() -> None:
    for seed in SEEDS:
        close, whole = make_film(seed)[0], make_film(seed, "whole-leg")[0]
        assert whole.height / whole.width > close.height / close.width
        assert whole.height * whole.mm_per_pixel > 1.3 * close.height * close.mm_per_pixel


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("view", ["close-up", "whole-leg"])
def test_the_bone_mask_is_brighter_than_the_flesh_beside_it(seed: int, view: View) -> None:
    film, body = make_film(seed, view)
    bone = bone_quality(0.5, np.random.default_rng(7))
    mask = bone_mask(film, expose(film, body, bone))
    gray = shoot(film, body, 0.5)
    assert mask.shape == gray.shape
    assert 0.05 < mask.mean() < 0.7
    exposed = gray > 0.05
    assert gray[mask].mean() > 1.3 * gray[~mask & exposed].mean()


def test_the_bone_mask_of_a_right_knee_is_that_of_a_left_one_mirrored() -> None:
    film, body = make_film(3)
    film = dataclasses.replace(
        film, margins=(0, 0, 0, 0), collimator_degrees=0.0, marker=(0.0, 0.0, 0.0)
    )
    bone = bone_quality(0, np.random.default_rng(7))
    right = dataclasses.replace(film, side="R")
    left_mask, right_mask = (bone_mask(one, expose(one, body, bone)) for one in (film, right))
    assert (left_mask != right_mask[:, ::-1]).mean() < 0.02  # but for the letter


def test_no_bone_is_masked_where_nothing_was_exposed() -> None:
    film, body = make_film(1)
    film = dataclasses.replace(film, margins=(0.0, 0.3, 0.0, 0.0), collimator_degrees=0.0)
    mask = bone_mask(film, expose(film, body, bone_quality(0, np.random.default_rng(7))))
    top = int(0.3 * film.height)
    assert not mask[: top - 1].any()
    assert mask[top + 1 :].any()
