"""Who is registered, and who may be champion."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knee.promotion import champion_decision, gates
from knee.promotion.champion_decision import CHALLENGER, CHAMPION, Rules
from knee.statistics.bootstrap import Bootstrap
from knee.storage.artifacts import ArtifactError

CLASSES = ("Normal", "Osteoporosis")


RULES = Rules(CLASSES, "accuracy", 3, 0.9, Bootstrap(draws=1000, level=0.95, seed=42))


def predictions(correct: list[bool], subset: str = "test", start: int = 0) -> pd.DataFrame:
    """One picture a group; every other one is Osteoporosis."""
    numbers = range(start, start + len(correct))
    truth = [number % 2 for number in numbers]
    chosen = [t if right else 1 - t for t, right in zip(truth, correct, strict=True)]
    return pd.DataFrame(
        {
            "pixel_sha256": [f"hash{number}" for number in numbers],
            "group": list(numbers),
            "subset": subset,
            "label": [CLASSES[t] for t in truth],
            "probability_Normal": [1.0 - c for c in chosen],
            "probability_Osteoporosis": [float(c) for c in chosen],
        }
    )


RIGHT, WRONG = [True] * 6, [False] * 6


def test_the_choice_sees_validation_rows_alone() -> None:
    good = pd.concat([predictions(RIGHT, "val"), predictions(WRONG, "test", 10)])
    poor = pd.concat([predictions(WRONG, "val"), predictions(RIGHT, "test", 10)])
    scores = {
        "good": champion_decision.subset_score(good, "val", RULES),
        "poor": champion_decision.subset_score(poor, "val", RULES),
    }
    assert scores == {"good": 1.0, "poor": 0.0}
    assert champion_decision.best(scores, {"good": 1, "poor": 1}, 0.01) == "good"


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ({"b": 0.5, "a": 0.5}, "b"),
        ({"b": math.nan, "a": 0.1}, "a"),
        ({"a": 0.5, "large": 0.509}, "a"),
        ({"a": 0.5, "large": 0.52}, "large"),
        ({"a": math.nan, "large": math.nan}, "a"),
    ],
)
def test_the_smallest_net_within_the_margin_is_chosen_and_nan_never(
    scores: dict[str, float], chosen: str
) -> None:
    assert champion_decision.best(scores, {"a": 1, "b": 1, "large": 9}, 0.01) == chosen


def test_without_a_backbone_nothing_can_be_chosen() -> None:
    with pytest.raises(ValueError, match="no backbone"):
        champion_decision.best({}, {}, 0.01)


def test_a_missing_subset_is_an_error() -> None:
    with pytest.raises(ArtifactError, match="no rows of subset val"):
        champion_decision.subset_score(predictions(RIGHT), "val", RULES)


@pytest.mark.parametrize("column", ["pixel_sha256", "label", "probability_Normal"])
def test_a_missing_column_is_named(column: str) -> None:
    with pytest.raises(ArtifactError, match=column):
        champion_decision.subset_score(predictions(RIGHT).drop(columns=column), "test", RULES)


def test_an_unknown_label_is_named() -> None:
    with pytest.raises(ArtifactError, match="Fracture"):
        champion_decision.subset_score(predictions(RIGHT).assign(label="Fracture"), "test", RULES)


def test_the_first_version_is_champion() -> None:
    assert champion_decision.decide(predictions(RIGHT), None, RULES).alias == CHAMPION


def test_one_failed_gate_keeps_a_version_from_being_champion() -> None:
    passed, failed = gates.split("grouped"), gates.split("random")
    for champion in (None, predictions(WRONG)):
        assert (
            champion_decision.decide(predictions(RIGHT), champion, RULES, [passed]).alias
            == CHAMPION
        )
        decision = champion_decision.decide(predictions(RIGHT), champion, RULES, [passed, failed])
        assert decision.alias == CHALLENGER
        assert decision.reason.startswith("split: its split is leaky")
        assert [gate.name for gate in decision.gates] == ["split", "split", "champion"]


@given(
    new=st.lists(st.booleans(), min_size=6, max_size=6),
    old=st.lists(st.booleans(), min_size=6, max_size=6),
    seed=st.integers(0, 9),
)
def test_champion_if_and_only_if_most_draws_of_groups_find_it_better(
    new: list[bool], old: list[bool], seed: int
) -> None:
    champion = predictions(old).sample(frac=1, random_state=seed)  # row order means nothing
    decision = champion_decision.decide(predictions(new), champion, RULES)
    generator = np.random.default_rng(RULES.bootstrap.seed)
    times = generator.multinomial(6, np.full(6, 1 / 6), size=RULES.bootstrap.draws)
    better = (times @ (np.array(new, int) - np.array(old, int)) > 0).mean()
    assert (decision.alias == CHAMPION) == (better >= RULES.minimum_probability)


def test_as_good_as_the_champion_is_not_better() -> None:
    decision = champion_decision.decide(predictions(RIGHT), predictions(RIGHT), RULES)
    assert decision.alias == CHALLENGER
    assert "probability of 0.000" in decision.reason


def test_only_common_test_pictures_count() -> None:
    """The candidate is better on all its rows, worse on those that both have."""
    candidate = pd.concat([predictions([False] * 4), predictions(RIGHT, start=100)])
    champion = pd.concat([predictions([True] * 4), predictions(WRONG, start=200)])
    decision = champion_decision.decide(candidate, champion, RULES)
    assert decision.alias == CHALLENGER
    assert "0.0000 against 1.0000 on 4 common test groups" in decision.reason


def test_pictures_that_are_not_test_rows_of_both_do_not_count() -> None:
    champion = predictions(WRONG, "val")
    decision = champion_decision.decide(predictions(RIGHT), champion, RULES)
    assert decision.alias == CHALLENGER
    assert "0 common test groups, 3 are needed" in decision.reason


@pytest.mark.parametrize("whose", ["candidate", "champion"])
def test_groups_of_which_one_of_the_two_has_trained_on_an_image_do_not_count(whose: str) -> None:
    """Films 0 and 50 are one patient's: one model has both in test, the other trained on 50."""
    films, joined, apart = [0, 1, 2, 3, 4, 5, 50], [7, 1, 2, 3, 4, 5, 7], [0, 1, 2, 3, 4, 5, 50]
    tables = [
        pd.DataFrame(
            {"pixel_sha256": [f"hash{n}" for n in films], "group": groups, "subset": subsets}
        )
        for groups, subsets in ((joined, ["test"] * 7), (apart, [*["test"] * 6, "train"]))
    ]
    new, old = predictions(RIGHT), predictions(WRONG)
    (new if whose == "candidate" else old)["group"] = joined[:6]
    splits = (tables[0], tables[1]) if whose == "candidate" else (tables[1], tables[0])
    decision = champion_decision.decide(new, old, RULES, splits=splits)
    assert "on 5 common test groups, 1 more left out: one of the two" in decision.reason
    same = (tables[0], tables[0])
    assert "on 6 common test groups" in champion_decision.decide(new, old, RULES).reason
    assert "left out" not in champion_decision.decide(new, old, RULES, splits=same).reason


def test_groups_are_counted_not_pictures() -> None:
    candidate, champion = predictions(RIGHT), predictions(WRONG)
    candidate["group"] = [0, 0, 0, 1, 1, 1]
    decision = champion_decision.decide(candidate, champion, RULES)
    assert "2 common test groups" in decision.reason


def test_a_picture_that_stands_twice_counts_once() -> None:
    champion = pd.concat([predictions([True, True, True]), predictions([True, True, True])])
    decision = champion_decision.decide(predictions([True, True, False]), champion, RULES)
    assert "0.6667 against 1.0000 on 3 common" in decision.reason


def test_a_corrected_label_judges_both() -> None:
    candidate, champion = predictions(RIGHT), predictions(RIGHT)
    champion["label"] = list(reversed(champion["label"]))
    decision = champion_decision.decide(candidate, champion, RULES)
    assert "1.0000 against 1.0000" in decision.reason


def test_other_classes_are_not_comparable() -> None:
    grades = predictions(RIGHT).rename(columns={"probability_Normal": "probability_Grade 0"})
    extended = predictions(RIGHT).assign(probability_Osteopenia=0.0)
    for champion in (grades, extended, predictions(RIGHT).assign(label="Grade 0")):
        decision = champion_decision.decide(predictions(RIGHT), champion, RULES)
        assert decision.alias == CHALLENGER
        assert "not comparable" in decision.reason


def test_a_figure_that_is_undefined_is_not_comparable() -> None:
    rules = dataclasses.replace(RULES, metric="macro_auc", minimum_common_groups=0)
    normal = predictions(RIGHT).assign(label="Normal")
    decision = champion_decision.decide(normal, normal, rules)
    assert decision.alias == CHALLENGER
    assert "macro_auc is not defined" in decision.reason
    nothing = champion_decision.decide(predictions(RIGHT), predictions(RIGHT, start=50), rules)
    assert "0 common test groups" in nothing.reason
