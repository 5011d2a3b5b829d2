"""What each shortcut sees, and that its learner is fitted to any labels."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.speed import straightforward
from knee.audit import shortcuts
from knee.storage.arrays import Pixels
from tests.records.tables import records


def films(count: int, side: int = 64, seed: int = 0) -> Pixels:
    """Noise, uint8 (count, side, side)."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side), np.uint8)


def test_the_ring_sees_nothing_of_the_inner_three_quarters() -> None:
    pixels = films(3, side=96)
    changed = pixels.copy()
    changed[:, 12:-12, 12:-12] = 255
    rows = np.arange(3)
    assert (
        shortcuts.ring_and_whole(pixels, rows)[0] == shortcuts.ring_and_whole(changed, rows)[0]
    ).all()


@pytest.mark.parametrize("side", [96, 224])
def test_the_ring_sees_every_edge(side: int) -> None:
    black = np.zeros((1, side, side), np.uint8)
    for place in np.ndindex(2, 2):
        lit = black.copy()
        lit[0, -place[0], side // 2 if place[1] else -place[0]] = 255
        ring, whole = shortcuts.ring_and_whole(lit, np.arange(1))
        assert ring.any()
        assert whole.shape == (1, 1024)


def test_pixels_are_read_at_their_rows_and_left_as_they_were() -> None:
    pixels = films(4)
    before = pixels.copy()
    chosen = shortcuts.ring_and_whole(pixels, np.array([3, 1]))[1]
    assert (chosen == shortcuts.ring_and_whole(pixels, np.arange(4))[1][[3, 1]]).all()
    assert (pixels == before).all()


def test_metadata_knows_no_pixel_no_name_and_no_number() -> None:
    table = records([0, 1, 0], [0, 1, 2])
    other = table.assign(record=9, source="x", sha256="f", pixel_sha256="f", picture=7, group=7)
    other = other.assign(label="z", class_index=5, patient="p", t_score=-3.0)
    assert (shortcuts.file_metadata(table) == shortcuts.file_metadata(other)).all()
    assert np.isfinite(shortcuts.file_metadata(table)).all()


@pytest.mark.parametrize(
    "column", ["width", "height", "mode", "format", "bytes", "bits", "border_top"]
)
def test_metadata_sees_the_files_facts(column: str) -> None:
    table = records([0, 1], [0, 1])
    changed = table.copy()
    changed.loc[1, column] = "other" if changed[column].dtype == "str" else 3
    assert (shortcuts.file_metadata(table)[0] == shortcuts.file_metadata(table)[1]).all()
    seen = shortcuts.file_metadata(changed)
    assert (seen[0] != seen[1]).any()


def test_origin_is_a_shortcut_only_where_two_are_known() -> None:
    table = records([0, 1, 0], [0, 1, 2])
    one = table.assign(origin=["A", "A", ""])
    assert "origin" not in shortcuts.shortcuts(one, films(3))
    assert "origin" in shortcuts.shortcuts(table.assign(origin=["A", "B", ""]), films(3))


@pytest.mark.parametrize("learner", [shortcuts.linear, shortcuts.tree, shortcuts.nearest_neighbour])
def test_a_learner_separates_what_differs_and_follows_new_labels(
    learner: shortcuts.Learner,
) -> None:
    labels = np.repeat([0, 1], 30)
    features = np.random.default_rng(0).normal(size=(60, 5)) + 8 * labels[:, np.newaxis]
    fit = learner(features[::2], features[1::2])
    assert (fit(labels[::2]) == labels[1::2]).mean() > 0.9
    assert (fit(1 - labels[::2]) == 1 - labels[1::2]).mean() > 0.9


@pytest.mark.parametrize(
    "learner",
    [shortcuts.linear, shortcuts.tree, shortcuts.nearest_neighbour, shortcuts.majority],
)
def test_a_learner_survives_constant_features_and_a_single_class(
    learner: shortcuts.Learner,
) -> None:
    fit = learner(np.ones((12, 3)), np.ones((4, 3)))
    assert (fit(np.ones(12, np.int64)) == 1).all()
    assert set(fit(np.arange(12) % 3)) <= {0, 1, 2}


def test_the_nearest_neighbour_is_the_nearest_in_many_rows_too() -> None:
    pixels = films(700, side=32).reshape(700, -1)
    fit = shortcuts.nearest_neighbour(pixels, pixels[::-1])
    assert (fit(np.arange(700)) == np.arange(700)[::-1]).all()


def test_the_nearest_neighbour_is_the_same_whatever_is_compared_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels = np.random.default_rng(0).integers(0, 9, (90, 6), np.uint8)  # many are equally far
    expected = straightforward.nearest(pixels[:60], pixels[60:])
    monkeypatch.setattr(shortcuts, "TRAINING_ROWS_AT_ONCE", 7)
    monkeypatch.setattr(shortcuts, "ROWS_AT_ONCE", 4)
    found = shortcuts.nearest_neighbour(pixels[:60], pixels[60:])(np.arange(60))
    np.testing.assert_array_equal(found, expected)


def test_components_of_some_rows_tell_as_much_and_every_row_is_learned_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels = np.arange(600) % 2
    features = np.random.default_rng(0).normal(size=(600, 5)) + 2 * labels[:, np.newaxis]
    whole = shortcuts.linear(features[::2], features[1::2])(labels[::2])
    monkeypatch.setattr(shortcuts, "PCA_ROWS", 100)
    some = shortcuts.linear(features[::2], features[1::2])(labels[::2])
    assert len(some) == 300
    assert (whole == some).mean() > 0.97
