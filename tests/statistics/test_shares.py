"""Intervals of shares and means."""

from __future__ import annotations

import numpy as np
import pytest

from knee.statistics import bootstrap


def test_a_share_has_wilsons_interval_as_scipy_gives_it() -> None:
    from scipy.stats import binomtest

    values = np.arange(40) < 31
    found = bootstrap.share_interval(values, np.arange(40), 0.95)
    expected = binomtest(31, 40).proportion_ci(0.95, "wilson")
    assert found["low"] == pytest.approx(expected.low, abs=1e-6)
    assert found["high"] == pytest.approx(expected.high, abs=1e-6)


def test_a_share_of_all_has_a_width_and_groups_widen_it() -> None:
    values = np.ones(20, bool)
    alone = bootstrap.share_interval(values, np.arange(20), 0.95)
    paired = bootstrap.share_interval(values, np.arange(20) // 2, 0.95)
    assert alone["high"] == paired["high"] == 1
    assert 0.5 < paired["low"] < alone["low"] < 1  # type: ignore[operator]
    assert bootstrap.share_interval(values[:0], np.arange(0), 0.95) == {"low": None, "high": None}
    assert bootstrap.share(values[:0]) is None


def test_a_mean_lies_in_its_interval_which_grouped_copies_do_not_narrow() -> None:
    values = np.random.default_rng(0).normal(1, 1, 60)
    chosen = {"draws": 500, "level": 0.95, "seed": 0}
    plain = bootstrap.mean_interval(values, np.arange(60), **chosen)  # type: ignore[arg-type]
    assert plain["low"] < values.mean() < plain["high"]
    copied = bootstrap.mean_interval(np.repeat(values, 3), np.repeat(np.arange(60), 3), **chosen)  # type: ignore[arg-type]
    assert copied == plain
    assert bootstrap.mean_interval(values, np.zeros(60), **chosen)["low"] is None  # type: ignore[arg-type]
