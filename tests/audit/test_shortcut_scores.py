"""Alarms: silent on imbalanced noise, loud on a planted shortcut, blind to group membership."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from knee.audit import shortcut_scores
from knee.audit.shortcut_scores import Labelled
from knee.audit.shortcuts import Learner, Shortcut, linear, majority, nearest_neighbour, tree
from knee.statistics.bootstrap import Bootstrap
from knee.storage.arrays import Integers

PROTOCOL = shortcut_scores.ShortcutProtocol(
    folds=5,
    repeats=2,
    permutations=99,
    alarm_level=0.01,
    seed=1,
    bootstrap=Bootstrap(draws=100, level=0.95, seed=1),
)
NAMES = ("a", "b", "c")


def imbalanced(generator: np.random.Generator, groups: int = 90) -> tuple[Integers, Integers]:
    """Labels 8 : 1 : 1 of groups with one to three records each, and the groups."""
    of_group = generator.permutation(
        np.repeat([0, 1, 2], [groups * 8 // 10, groups // 10, groups // 10])
    )
    members = np.repeat(np.arange(groups), generator.integers(1, 4, groups))
    return of_group[members].astype(np.int64), members


@pytest.mark.parametrize("learner", [linear, tree, nearest_neighbour, majority])
def test_imbalanced_noise_raises_no_alarm(learner: Learner) -> None:
    """The features tell groups apart, and no label: accuracy is high, and means nothing."""
    for seed in range(2):
        generator = np.random.default_rng(seed)
        labels, groups = imbalanced(generator)
        noise = Shortcut(generator.normal(size=(90, 6))[groups], learner)
        figures = shortcut_scores.cross_validated(noise, Labelled(labels, groups, NAMES), PROTOCOL)
        assert not figures["alarm"]
        assert figures["p_value"] > 0.1
        assert figures["balanced_accuracy"] < 0.5


def test_the_largest_class_alone_is_accurate_and_no_shortcut() -> None:
    labels, groups = imbalanced(np.random.default_rng(0))
    nothing = Shortcut(np.zeros((len(labels), 0)), majority)
    figures = shortcut_scores.cross_validated(nothing, Labelled(labels, groups, NAMES), PROTOCOL)
    assert figures["accuracy"] > 0.7
    assert figures["balanced_accuracy"] == pytest.approx(1 / 3, abs=1e-6)
    assert (figures["p_value"], figures["alarm"]) == (1.0, False)


@pytest.mark.parametrize("learner", [linear, tree, nearest_neighbour])
def test_a_planted_shortcut_raises_the_alarm(learner: Learner) -> None:
    generator = np.random.default_rng(0)
    labels, groups = imbalanced(generator)
    noise = generator.normal(size=(len(labels), 6))
    noise[:, 0] += 3 * (labels == 1) - 3 * (labels == 2)
    planted = Shortcut(noise, learner)
    figures = shortcut_scores.cross_validated(planted, Labelled(labels, groups, NAMES), PROTOCOL)
    assert figures["alarm"]
    assert figures["p_value"] == 0.01
    ends = figures["confidence_interval"]["balanced_accuracy"]
    assert 1 / 3 < ends["low"] < figures["balanced_accuracy"] < ends["high"]


def test_below_chance_is_no_alarm_whatever_p_is() -> None:
    labels, groups = imbalanced(np.random.default_rng(0))
    lenient = dataclasses.replace(PROTOCOL, alarm_level=1.0)
    nothing = Shortcut(np.zeros((len(labels), 0)), majority)
    assert not shortcut_scores.cross_validated(nothing, Labelled(labels, groups, NAMES), lenient)[
        "alarm"
    ]


def test_what_identifies_a_group_does_not_help_across_groups() -> None:
    """Twins of one group would find each other if the folds cut it."""
    generator = np.random.default_rng(3)
    groups = np.repeat(np.arange(40), 3)
    labels = generator.integers(0, 2, 40)[groups]
    twins = Shortcut(generator.normal(size=(40, 8))[groups], nearest_neighbour)
    figures = shortcut_scores.cross_validated(twins, Labelled(labels, groups, ("a", "b")), PROTOCOL)
    assert figures["accuracy"] < 0.7


def test_permuted_labels_stay_whole_and_in_their_fold() -> None:
    groups = np.repeat(np.arange(30), np.arange(30) % 3 + 1)
    labels, folds = groups // 10, groups % 5
    shuffled = shortcut_scores.permuted(labels, groups, folds, np.random.default_rng(0))
    assert (shuffled != labels).any()
    for group in range(30):
        assert len(set(shuffled[groups == group])) == 1
    first = np.unique(groups, return_index=True)[1]
    for fold in range(5):
        inside = first[folds[first] == fold]
        assert sorted(shuffled[inside]) == sorted(labels[inside])


def test_p_values_of_noise_are_spread_evenly() -> None:
    """Half of them lie below a half, give or take three standard errors."""
    values = []
    for seed in range(60):
        generator = np.random.default_rng(seed)
        labels, groups = imbalanced(generator, 40)
        noise = Shortcut(generator.normal(size=(len(labels), 4)), nearest_neighbour)
        few = Bootstrap(2, 0.95, 1)
        quick = dataclasses.replace(PROTOCOL, folds=3, repeats=1, permutations=39, bootstrap=few)
        figures = shortcut_scores.cross_validated(noise, Labelled(labels, groups, NAMES), quick)
        values.append(figures["p_value"])
    assert abs(np.mean(np.array(values) <= 0.5) - 0.5) < 3 * 0.5 / np.sqrt(60)


def test_figures_are_the_same_each_time() -> None:
    generator = np.random.default_rng(0)
    labels, groups = imbalanced(generator)
    noise = Shortcut(generator.normal(size=(len(labels), 40)), linear)
    quick = dataclasses.replace(PROTOCOL, permutations=9)
    first, again = (
        shortcut_scores.cross_validated(noise, Labelled(labels, groups, NAMES), quick)
        for _ in range(2)
    )
    assert first == again


def test_a_class_with_one_group_leaves_figures_undefined() -> None:
    labels, groups = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 3, 3])
    alone = Shortcut(np.zeros((5, 1)), tree)
    figures = shortcut_scores.cross_validated(alone, Labelled(labels, groups, ("a", "b")), PROTOCOL)
    assert figures["balanced_accuracy"] is None
    assert figures["p_value"] is None
    assert figures["alarm"] is False


def test_the_test_rows_are_scored_by_what_the_training_rows_taught() -> None:
    labels = np.array([0, 1, 0, 1, 1, 0])
    features = labels[:, np.newaxis].astype(float)
    features[5] = 1  # its label is not what its feature says
    rows = (np.arange(4), np.array([4, 5]))
    known = Labelled(labels, np.arange(6), ("a", "b"))
    shortcut = Shortcut(features, nearest_neighbour)
    figures = shortcut_scores.held_out(shortcut, known, PROTOCOL, rows)
    assert figures["accuracy"] == 0.5


def test_a_vote_on_a_record_is_of_folds_without_its_group() -> None:
    """Pairs of a group share a feature of their own: without the group it tells nothing."""
    groups = np.arange(40) // 2
    labels = (groups % 2).astype(np.int64)
    told = labels[:, None] * 200 + np.zeros((40, 4))
    own = np.eye(20)[groups] * 200  # known by heart, if the group were seen
    records = Labelled(labels, groups, ("a", "b"))

    def votes(shortcut: Shortcut, judged: Labelled) -> Integers:
        return shortcut_scores.out_of_fold_votes(shortcut, judged, folds=4, repeats=3, seed=0)

    by_heart = Shortcut(own, nearest_neighbour)
    honest = Shortcut(told, nearest_neighbour)
    assert (votes(honest, records) == labels).all()
    blind = votes(by_heart, records)
    assert (blind == labels).mean() < 0.8
    alone = Labelled(labels * 0, groups, ("a", "b"))
    assert (votes(honest, alone) == -1).all()
