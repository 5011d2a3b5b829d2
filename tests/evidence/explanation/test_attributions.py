"""Shares of attribution, and how alike two maps are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from knee.audit import shortcuts
from knee.evidence.explanation import attributions

SIDE = 32


def random_maps(seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.random.default_rng(seed).normal(size=(3, SIDE, SIDE))


def test_an_attribution_is_non_negative_and_sums_to_one() -> None:
    found = attributions.attribution(random_maps())
    assert (found >= 0).all()
    assert found.sum(axis=(1, 2)) == pytest.approx(1)


def test_a_map_without_positive_value_has_no_attribution_share_or_peak() -> None:
    maps = random_maps()
    maps[1] = -1
    found = attributions.attribution(maps)
    for values in (
        attributions.share_inside(found, np.ones((SIDE, SIDE))),
        attributions.peak_inside(found, np.ones((SIDE, SIDE))),
        attributions.rank_correlation(found, found),
    ):
        assert np.isnan(values).tolist() == [False, True, False]


@pytest.mark.parametrize("side", [16, 96, 224])
def test_the_border_share_of_a_uniform_map_is_the_rings_share_of_the_area(side: int) -> None:
    ring = attributions.border_ring(side)
    uniform = attributions.attribution(np.ones((1, side, side)))
    assert attributions.share_inside(uniform, ring)[0] == pytest.approx(ring.mean())
    assert ring.mean() == pytest.approx(1 - 0.75**2, abs=0.02)


def test_the_ring_is_the_one_that_the_audits_shortcut_sees() -> None:
    ring = attributions.border_ring(96)
    inside, outside = (np.where(where, 255, 0).astype(np.uint8) for where in (~ring, ring))
    seen, _ = shortcuts.ring_and_whole(np.stack([inside, outside]), np.arange(2))
    assert not seen[0].any()
    assert seen[1].all()


def test_a_map_equal_to_the_region_lies_wholly_on_it() -> None:
    region = np.zeros((1, SIDE, SIDE))
    region[0, 5:9, 20:30] = 1
    found = attributions.attribution(region)
    assert attributions.share_inside(found, region)[0] == pytest.approx(1)
    assert attributions.peak_inside(found, region)[0] == 1
    assert attributions.share_inside(found, 1 - region)[0] == 0
    assert attributions.peak_inside(found, 1 - region)[0] == 0


def test_blocks_keep_the_mean_and_uneven_ones_too() -> None:
    maps = random_maps()
    assert attributions.reduced(maps, 8).mean(axis=(1, 2)) == pytest.approx(maps.mean(axis=(1, 2)))
    constant = attributions.reduced(np.full((1, 32, 32), 2.5), 6)
    assert constant.shape == (1, 6, 6)
    assert constant == pytest.approx(2.5)
    assert attributions.reduced(maps, 100).shape == maps.shape


def test_rank_correlation_is_spearmans_with_ties() -> None:
    one, other = np.maximum(random_maps(1), 0), np.maximum(random_maps(2), 0)
    one += other / 2
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(one, other, strict=True)]
    assert attributions.rank_correlation(one, other) == pytest.approx(expected)
    assert attributions.rank_correlation(one, one) == pytest.approx(1)
    assert np.isnan(attributions.rank_correlation(one, np.ones_like(one))).all()
