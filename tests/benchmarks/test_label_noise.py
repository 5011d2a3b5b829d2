"""Label noise: planted noise is found, and a ceiling follows from it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.evidence import label_noise

CLASSES = 3


def planted(share_wrong: float, records: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    """Labels of which so many are wrong, and the probabilities of a good model of the truth."""
    generator = np.random.default_rng(0)
    truth = generator.integers(0, CLASSES, records)
    wrong = generator.random(records) < share_wrong
    labels = np.where(wrong, (truth + generator.integers(1, CLASSES, records)) % CLASSES, truth)
    chances = generator.dirichlet(np.ones(CLASSES), records) * 0.3
    chances[np.arange(records), truth] += 0.7
    return labels, chances


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_confident_learning_finds_the_share_of_wrong_labels(share: float) -> None:
    labels, chances = planted(share)
    groups = np.arange(len(labels)) // 2
    found = label_noise.confident_learning(labels, [chances, chances], groups, draws=50, seed=1)
    bounds = found["share_wrong"]
    assert bounds["value"] == pytest.approx(share, abs=0.02)
    assert bounds["low"] <= bounds["value"] <= bounds["high"]
    assert np.sum(found["joint"]) == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(
        np.sum(found["joint"], axis=1), np.bincount(labels) / len(labels), atol=1e-3
    )


def test_weights_count_as_records_that_stand_there_so_often() -> None:
    labels, chances = planted(0.2, 40)
    times = np.arange(40) % 3
    expected = label_noise.joint(
        np.repeat(labels, times), np.repeat(chances, times, axis=0), np.ones(times.sum())
    )
    np.testing.assert_allclose(label_noise.joint(labels, chances, times.astype(float)), expected)


def films(first: list[int], second: list[int]) -> pd.DataFrame:
    """Picture n has label first[n] in one collection and second[n] in the other."""
    rows = [
        {"picture": picture, "origin": origin, "class_index": label}
        for origin, labels in (("here", first), ("there", second))
        for picture, label in enumerate(labels)
    ]
    alone = {"picture": 999, "origin": "here", "class_index": 0}
    return pd.DataFrame([*rows, alone])


def test_two_collections_tell_how_often_one_label_is_right() -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(0, CLASSES, 4000)

    def read() -> np.ndarray:
        wrong = generator.random(4000) < 0.1
        return np.where(wrong, (truth + generator.integers(1, CLASSES, 4000)) % CLASSES, truth)

    table = films(read().tolist(), read().tolist())
    found = label_noise.second_readings(table, CLASSES, draws=50, seed=0)
    assert found["pictures"] == 4000
    assert found["agreement"]["value"] == pytest.approx(0.9**2 + 0.1**2 / 2, abs=0.02)
    assert found["label_right"]["value"] == pytest.approx(0.9, abs=0.01)


def test_a_picture_that_one_collection_has_twice_counts_by_its_shares() -> None:
    table = pd.concat([films([0, 1], [0, 1]), films([0], [1]).head(2)])
    found = label_noise.second_readings(table, CLASSES, draws=10, seed=0)
    assert found["agreement"]["value"] == 0.75  # picture 0: half of the pairs agree


def test_without_a_second_collection_nothing_is_estimated() -> None:
    table = films([0, 1], [0, 1])
    alone = table[table["origin"] == "here"]
    assert label_noise.second_readings(alone, CLASSES, draws=10, seed=0) == {"pictures": 0}


def test_the_ceiling_is_what_a_reader_of_the_truth_scores_against_such_labels() -> None:
    assert label_noise.reliability(1, 3) == 1
    counts = np.array([40_000, 20_000, 40_000])
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), counts)
    wrong = generator.random(len(labels)) < 0.15
    truth = np.where(wrong, (labels + generator.integers(1, 3, len(labels))) % 3, labels)
    expected = [
        2 * ((labels == k) & (truth == k)).sum() / ((labels == k).sum() + (truth == k).sum())
        for k in range(3)
    ]
    found = label_noise.ceiling(0.85, 0.7, counts, twice=0)
    assert found["accuracy"] == 0.85
    assert found["macro_f1"] == pytest.approx(np.mean(expected), abs=0.005)
    assert label_noise.ceiling(0.85, 0.7, counts, twice=1)["accuracy"] == 1
