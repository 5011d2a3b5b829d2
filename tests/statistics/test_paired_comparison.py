"""Comparisons: paired, by groups, corrected for their number."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from knee.statistics import paired_comparison
from knee.statistics.bootstrap import Bootstrap
from knee.statistics.paired_comparison import NamedPredictions
from knee.statistics.scores import certain

BOOTSTRAP = Bootstrap(draws=400, level=0.9, seed=1)
TRUTH = np.arange(90) % 3
GROUPS = np.arange(90) // 2


def guessing(right: npt.NDArray[np.bool_], name: str, kind: str = "model") -> NamedPredictions:
    """Predictions that are right where they are told to be."""
    guesses = np.where(right, TRUTH, (TRUTH + 1) % 3)
    return NamedPredictions(name, kind, (certain(guesses, 3),))  # type: ignore[arg-type]


def some_right(share: float, seed: int) -> npt.NDArray[np.bool_]:
    return np.random.default_rng(seed).random(90) < share


def compare(
    compared: Sequence[NamedPredictions],
    bootstrap: Bootstrap = BOOTSTRAP,
    groups: npt.NDArray[np.int64] = GROUPS,
) -> Any:
    return paired_comparison.compare(TRUTH, groups, compared, "accuracy", bootstrap)


def test_a_clearly_better_model_is_told_from_a_baseline() -> None:
    found = compare(
        [guessing(some_right(0.95, 0), "good"), guessing(some_right(0.4, 1), "bad", "baseline")]
    )
    (one,) = found["differences"]
    assert (one["model"], one["other"]) == ("good", "bad")
    assert one["low"] > 0.2
    assert one["probability_better"] == 1
    assert 0 < one["p_value"] < 0.01
    assert found["groups"] == 45


def test_the_same_predictions_do_not_differ() -> None:
    same = some_right(0.7, 0)
    found = compare([guessing(same, "one"), guessing(same, "two")])
    (one,) = found["differences"]
    assert (one["difference"], one["low"], one["high"]) == (0, 0, 0)
    assert one["p_value"] == 1
    assert (one["probability_better"], one["probability_worse"]) == (0, 0)


def test_pairing_narrows_the_interval_of_a_difference() -> None:
    base = some_right(0.6, 0)
    better = base | (np.arange(90) < 12)
    found = compare([guessing(better, "one"), guessing(base, "two")])
    single = found["figures"]["one"]["accuracy"]
    (paired,) = found["differences"]
    assert paired["high"] - paired["low"] < 0.7 * (single["high"] - single["low"])


def test_draws_are_those_of_a_plain_loop_over_groups() -> None:
    compared = [guessing(some_right(0.8, 0), "one"), guessing(some_right(0.5, 1), "two")]
    (found,) = compare(compared)["differences"]
    generator = np.random.default_rng(BOOTSTRAP.seed)
    right = [one.repeats[0].argmax(axis=1) == TRUTH for one in compared]
    gaps = []
    for times in generator.multinomial(45, np.full(45, 1 / 45), size=BOOTSTRAP.draws):
        rows = np.repeat(np.arange(90), times[GROUPS])
        gaps.append(right[0][rows].mean() - right[1][rows].mean())
    np.testing.assert_allclose(
        (found["low"], found["high"]), np.quantile(gaps, (0.05, 0.95)), atol=1e-6
    )


def test_more_repeats_do_not_count_as_more_records() -> None:
    once = guessing(some_right(0.7, 0), "one")
    thrice = NamedPredictions("one", "model", once.repeats * 3)
    first, second = (compare([one])["figures"]["one"] for one in (once, thrice))
    assert first == second


def test_with_one_group_nothing_is_known_of_the_spread() -> None:
    found = compare(
        [guessing(some_right(0.9, 0), "one"), guessing(some_right(0.5, 1), "two")],
        groups=np.zeros(90, np.int64),
    )
    (one,) = found["differences"]
    assert one["difference"] > 0
    assert one["low"] is one["p_value"] is one["p_corrected"] is None


def test_baselines_are_compared_with_models_alone() -> None:
    found = compare(
        [
            guessing(TRUTH == 0, name, kind)
            for name, kind in (("a", "model"), ("x", "baseline"), ("b", "model"), ("y", "baseline"))
        ]
    )
    pairs = [(one["model"], one["other"]) for one in found["differences"]]
    assert pairs == [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), ("a", "b")]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, None, 0.9], [1.0, None, 1.0]),
        ([], []),
    ],
)
def test_holms_correction(given: list[float | None], expected: list[float | None]) -> None:
    assert paired_comparison.holm(given) == expected


def test_a_model_is_significantly_better_only_than_a_shortcut_that_it_clearly_beats() -> None:
    half = some_right(0.5, 1)
    field = [
        guessing(some_right(0.95, 0), "good"),
        guessing(half | (np.arange(90) == 0), "level"),
        guessing(some_right(0.1, 3), "bad"),
        guessing(half, "better shortcut", "shortcut"),
        guessing(some_right(0.3, 2), "lesser shortcut", "shortcut"),
        guessing(some_right(0.99, 4), "probe", "probe"),
    ]
    many = dataclasses.replace(BOOTSTRAP, draws=2000)
    part = compare(field, many)
    found: Any = paired_comparison.best_shortcuts(part, "accuracy", BOOTSTRAP.level)
    assert {one["other"] for one in found} == {"better shortcut"}
    assert {one["model"]: one["significant"] for one in found} == {
        "good": True,
        "level": False,
        "bad": False,  # the difference is sure, and on the wrong side
    }
    assert next(one for one in found if one["model"] == "bad")["p_corrected"] < 0.05


def test_without_a_shortcut_nothing_is_said_of_one() -> None:
    part = compare([guessing(some_right(0.9, 0), "one")])
    assert paired_comparison.best_shortcuts(part, "accuracy", BOOTSTRAP.level) == []
