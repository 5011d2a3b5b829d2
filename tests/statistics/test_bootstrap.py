"""The grouped bootstrap against a plain loop, its properties, and intervals of shares."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knee.statistics import bootstrap, scores
from knee.statistics.bootstrap import Bootstrap
from tests.statistics import reference

Case = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.int64]]


def case(seed: int, rows: int = 60, groups: int = 25, classes: int = 3) -> Case:
    """Records of a fair model; probabilities in steps of a tenth or so, hence with ties."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, rows)
    raw = generator.dirichlet(np.ones(classes), rows) + 0.6 * np.eye(classes)[truth]
    chances = raw.round(1) + 0.05
    return truth, chances / chances.sum(axis=1, keepdims=True), generator.integers(0, groups, rows)


def outcomes(
    truth: npt.NDArray[np.int64], chances: npt.NDArray[np.float64], groups: npt.NDArray[np.int64]
) -> scores.Outcomes:
    return scores.Outcomes(truth, chances, groups, [str(n) for n in range(chances.shape[1])])


def found(data: Case, **changes: Any) -> dict[str, dict[str, float | None]]:
    return dataclasses.replace(Bootstrap(200, 0.95, 7), **changes).intervals([outcomes(*data)])


def width(bounds: dict[str, float | None]) -> float:
    assert bounds["low"] is not None
    assert bounds["high"] is not None
    return bounds["high"] - bounds["low"]


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 40), classes=st.integers(2, 5))
@settings(max_examples=20, deadline=None)
def test_weights_give_the_figures_of_the_repeated_records(
    seed: int, rows: int, classes: int
) -> None:
    truth, chances, _ = case(seed, rows, classes=classes)
    times = np.random.default_rng(seed).integers(0, 4, (2, rows))
    times[:, 0] += 1
    weighted = scores.weighted_figures(truth, chances, times.astype(np.float64))
    for draw in range(2):
        repeated = np.repeat(np.arange(rows), times[draw])
        for name, expected in reference.figures(truth[repeated], chances[repeated]).items():
            assert weighted[name][draw] == pytest.approx(expected, abs=1e-9, nan_ok=True), name


def test_intervals_are_those_of_a_plain_loop_over_drawn_groups() -> None:
    truth, chances, groups = case(3)
    names = np.unique(groups)
    drawn = np.random.default_rng(7).multinomial(len(names), [1 / len(names)] * len(names), 50)
    values: dict[str, list[float]] = {name: [] for name in scores.HEADLINE}
    for times in drawn:
        rows = np.concatenate(
            [
                np.flatnonzero(groups == name)
                for name, count in zip(names, times, strict=True)
                for _ in range(count)
            ]
        )
        for name, value in reference.figures(truth[rows], chances[rows]).items():
            values[name].append(value)
    bounds = found((truth, chances, groups), draws=50)
    for name, kept in values.items():
        low, high = np.quantile(kept, [0.025, 0.975])
        assert bounds[name] == {
            "low": pytest.approx(low, abs=1e-6),
            "high": pytest.approx(high, abs=1e-6),
        }


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others() -> None:
    data = case(1)
    assert found(data) == found(data)
    assert found(data) != found(data, seed=8)


def test_drawing_in_several_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = case(2)
    at_once = found(data)
    monkeypatch.setattr(bootstrap, "CELLS_AT_ONCE", 7 * len(data[0]))
    assert found(data) == at_once


def test_repeating_every_record_within_its_group_does_not_narrow_an_interval() -> None:
    """Copies are no evidence; records drawn one by one would take them for some."""
    truth, chances, groups = case(4)
    repeated = (np.tile(truth, 5), np.tile(chances, (5, 1)), np.tile(groups, 5))
    once, often = found((truth, chances, groups)), found(repeated)
    for name in scores.HEADLINE:
        assert often[name] == pytest.approx(once[name], abs=2e-6)
    ungrouped = found((*repeated[:2], np.arange(len(repeated[0]))))
    assert width(ungrouped["accuracy"]) < 0.7 * width(once["accuracy"])


def test_neither_the_order_of_records_nor_the_groups_numbers_matter() -> None:
    truth, chances, groups = case(5)
    order = np.random.default_rng(0).permutation(len(truth))
    shuffled = found((truth[order], chances[order], groups[order] * 10 + 3))
    plain = found((truth, chances, groups))
    for name in scores.HEADLINE:
        assert shuffled[name] == pytest.approx(plain[name], abs=2e-6)


def test_a_higher_level_gives_a_wider_interval_around_the_figure() -> None:
    data = case(6)
    narrow, wide = found(data, level=0.5), found(data, level=0.99)
    for name in ("accuracy", "macro_f1", "quadratic_kappa", "macro_auc", "log_loss"):
        value = scores.metric(name)(*data[:2])
        assert width(narrow[name]) < width(wide[name])
        assert (wide[name]["low"] or 0) <= value <= (wide[name]["high"] or 0)


def test_intervals_cover_the_true_accuracy_about_as_often_as_they_say() -> None:
    """60 patients with three records each, all three right or all wrong."""
    generator = np.random.default_rng(11)
    covered = 0
    for seed in range(200):
        right = np.repeat(generator.random(60) < 0.7, 3)
        truth = np.zeros(180, np.int64)
        chances = np.where(right[:, np.newaxis], [0.9, 0.1], [0.1, 0.9])
        bounds = found((truth, chances, np.repeat(np.arange(60), 3)), seed=seed)["accuracy"]
        covered += (bounds["low"] or 0) <= 0.7 <= (bounds["high"] or 0)
    assert 0.88 <= covered / 200 <= 0.99


def test_one_group_has_no_interval() -> None:
    truth, chances, groups = case(7)
    bounds = found((truth, chances, np.zeros_like(groups)))
    assert all(ends == {"low": None, "high": None} for ends in bounds.values())


def test_a_figure_that_hardly_any_draw_defines_has_no_interval() -> None:
    truth = np.array([0, 0, 0, 0, 0, 0])
    chances = np.tile([0.9, 0.1], (6, 1))
    bounds = found((truth, chances, np.arange(6)))
    assert bounds["quadratic_kappa"] == bounds["macro_auc"] == {"low": None, "high": None}
    assert bounds["accuracy"] == {"low": 1.0, "high": 1.0}


def test_draws_that_lack_a_rare_class_do_not_spoil_an_interval() -> None:
    truth, chances, groups = case(8, classes=2)
    rare = np.zeros_like(truth)
    rare[:2] = 1
    for ends in found((rare, chances, groups)).values():
        assert ends["low"] is not None
        assert not math.isnan(ends["low"])


def test_repeating_the_same_predictions_does_not_narrow_the_interval() -> None:
    one = outcomes(*case(2))
    once, thrice = (Bootstrap(50, 0.9, 1).intervals([one] * count) for count in (1, 3))
    for name, bounds in once.items():
        for end, value in bounds.items():
            assert thrice[name][end] == pytest.approx(value, abs=2e-6)


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
    chosen = Bootstrap(500, 0.95, 0)
    plain = chosen.mean_interval(values, np.arange(60))
    assert plain["low"] < values.mean() < plain["high"]
    copied = chosen.mean_interval(np.repeat(values, 3), np.repeat(np.arange(60), 3))
    assert copied == plain
    assert chosen.mean_interval(values, np.zeros(60))["low"] is None
