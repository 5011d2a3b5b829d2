"""Baselines see what the models saw, and nothing else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from knee.audit.shortcuts import Fitted, Shortcut
from knee.evidence.comparison import models_and_baselines
from knee.evidence.comparison.models_and_baselines import Baselines
from knee.storage.arrays import Features, Integers
from knee.storage.artifacts import ArtifactError

RECORDS, CLASSES = 30, 3


def table(seed: int = 0, repeats: int = 2) -> pd.DataFrame:
    """Out-of-fold predictions of `RECORDS` records, numbered from 100."""
    generator = np.random.default_rng(seed)
    parts = []
    for repeat in range(repeats):
        chances = generator.dirichlet(np.ones(CLASSES), RECORDS)
        part = pd.DataFrame(chances, columns=[f"probability_{name}" for name in "abc"])
        part["record"] = 100 + np.arange(RECORDS)
        part["group"] = np.arange(RECORDS) // 2
        part["fold"] = (part["group"] + repeat) % 5
        part["origin"] = np.where(part["group"] % 2, "here", "")
        part["repeat"], part["class_index"] = repeat, np.arange(RECORDS) % CLASSES
        parts.append(part.sample(frac=1, random_state=seed))
    return pd.concat(parts)


def spy(train: Features, test: Features) -> Fitted:
    """Guesses nothing, but checks that no group is on both sides."""
    assert not set(train[:, 0] // 2) & set(test[:, 0] // 2)
    assert len(train) + len(test) == RECORDS

    def guess(labels: Integers) -> Integers:
        np.testing.assert_array_equal(labels, train[:, 0] % CLASSES)
        return test[:, 0] % CLASSES

    return guess


def baselines() -> Baselines:
    """The spy, of records in another order than that of the tables."""
    rows = np.arange(RECORDS, dtype=np.int64)[::-1]
    records = pd.DataFrame({"record": 100 + rows, "class_index": rows % CLASSES, "origin": ""})
    return Baselines(records, {"spy": Shortcut(rows[:, None], spy)})


NONE = Baselines(baselines().records, {})


def test_a_baseline_is_fitted_outside_each_fold_and_guesses_inside() -> None:
    evidence = models_and_baselines.cross_validated({"net": table()}, baselines())
    model, baseline = evidence.compared
    assert (model.kind, baseline.kind) == ("model", "shortcut")
    assert len(model.repeats) == len(baseline.repeats) == 2
    for part in baseline.repeats:
        np.testing.assert_array_equal(part.argmax(axis=1), evidence.truth)
    expected = table().query("repeat == 1").sort_values("record").filter(like="probability")
    np.testing.assert_allclose(model.repeats[1], expected.to_numpy())


def test_tables_of_other_folds_are_refused_by_name() -> None:
    other = table()
    other["fold"] = other["fold"] % 3
    with pytest.raises(ArtifactError, match="one and two are not of the same records"):
        models_and_baselines.cross_validated({"one": table(), "two": other}, NONE)
    with pytest.raises(ArtifactError, match="no column fold"):
        models_and_baselines.cross_validated({"one": table().drop(columns="fold")}, NONE)


def test_within_an_origin_are_its_records_alone() -> None:
    evidence = models_and_baselines.cross_validated({"net": table()}, NONE).within("here")
    assert set(evidence.groups % 2) == {1}
    assert len(evidence.compared[0].repeats[0]) == len(evidence.truth) == len(evidence.groups)


def test_on_the_test_subset_a_baseline_is_fitted_to_the_training_subset() -> None:
    predictions = table(repeats=1).assign(subset="test")
    predictions.loc[predictions["group"] < 10, "subset"] = "val"
    split = pd.DataFrame({"record": 100 + np.arange(20), "subset": "train"})
    evidence = models_and_baselines.held_out({"net": predictions}, baselines(), split)
    assert len(evidence.truth) == 10
    np.testing.assert_array_equal(evidence.compared[1].repeats[0].argmax(axis=1), evidence.truth)


def test_the_linear_probe_finds_a_class_in_features_of_any_scale() -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 2
    features = generator.normal(size=(60, 5)) * [1, 1e6, 1, 1, 0]
    features[:, 2] = labels * 0.01
    guess = models_and_baselines.linear_probe(features[:40], features[40:])(labels[:40])
    assert (guess == labels[40:]).mean() > 0.9
    assert set(
        models_and_baselines.linear_probe(features[:4], features[40:])(np.ones(4, np.int64))
    ) == {1}


def test_the_average_of_the_backbones_is_one_more_model_of_their_probabilities_alone() -> None:
    tables = {"one": table(1), "two": table(2), "also": table(3)}
    evidence = models_and_baselines.cross_validated(tables, baselines())
    averaged = evidence.with_average(["one", "two"])
    names = [one.name for one in averaged.compared]
    assert names == ["one", "two", "also", models_and_baselines.AVERAGE, "spy"]
    one, two, _, mean, _ = averaged.compared
    assert mean.kind == "model"
    for repeat in range(2):
        expected = (one.repeats[repeat] + two.repeats[repeat]) / 2
        np.testing.assert_allclose(mean.repeats[repeat], expected)


def test_a_backbone_alone_gets_no_average() -> None:
    evidence = models_and_baselines.cross_validated({"net": table(), "also": table()}, NONE)
    assert evidence.with_average(["net"]) is evidence
