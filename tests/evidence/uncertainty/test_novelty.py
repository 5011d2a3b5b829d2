"""Unlikeness: what is far in feature space is flagged, and its file is read with care."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from knee.evidence.uncertainty import novelty
from knee.storage import artifacts
from knee.synthetic import non_radiographs


def features(rows: int, seed: int, channels: int = 40) -> np.ndarray:
    """Points in few directions of a space of many, as features are."""
    random = np.random.default_rng(seed)
    plane = np.random.default_rng(9).normal(size=(6, channels))
    noise = 0.05 * random.normal(size=(rows, channels))
    return np.asarray(5 + random.normal(size=(rows, 6)) @ plane * 0.3 + noise, np.float32)


@pytest.fixture(scope="module")
def fitted() -> novelty.Novelty:
    model = novelty.fit(features(120, 0), features(60, 1), 0.95)
    assert model is not None
    return model


def test_images_of_the_same_kind_pass_and_others_do_not(fitted: novelty.Novelty) -> None:
    assert (fitted.scores(features(200, 2)) > 1).mean() < 0.15
    strange = np.random.default_rng(3).normal(5, 1, (50, 40))
    assert (fitted.scores(strange) > 1).all()
    assert fitted.scores(np.zeros((1, 40)))[0] > 1


def test_the_covariance_is_that_of_scikit_learn(fitted: novelty.Novelty) -> None:
    from sklearn.covariance import LedoitWolf

    values = novelty.unit_length(features(120, 0))
    expected = LedoitWolf().fit(values)
    fresh = features(30, 4)
    distances = np.sqrt(expected.mahalanobis(novelty.unit_length(fresh)))
    np.testing.assert_allclose(fitted.distances(fresh), distances, rtol=1e-6)


def test_a_space_with_more_channels_than_images_is_measured_alike() -> None:
    from sklearn.covariance import LedoitWolf

    training = features(25, 0)
    model = novelty.fit(training, features(20, 1), 1.0)
    assert model is not None
    expected = LedoitWolf().fit(novelty.unit_length(training))
    fresh = features(30, 4)
    distances = np.sqrt(expected.mahalanobis(novelty.unit_length(fresh)))
    np.testing.assert_allclose(model.distances(fresh), distances, rtol=1e-6)


def test_the_limit_is_passed_by_the_share_of_held_out_images_that_was_asked_for() -> None:
    held = features(99, 1)
    for quantile, above in ((0.9, 9), (0.5, 49), (1.0, 0)):
        model = novelty.fit(features(120, 0), held, quantile)
        assert model is not None
        assert (model.scores(held) > 1).sum() == above


def test_too_few_images_have_no_score() -> None:
    assert novelty.fit(features(7, 0), features(60, 1), 0.9) is None
    assert novelty.fit(features(60, 0), features(7, 1), 0.9) is None


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_training_images_whose_features_do_not_differ_give_no_score(value: float) -> None:
    alike = np.full((20, 40), value, np.float32)
    assert novelty.fit(alike, features(20, 1), 0.95) is None
    assert novelty.cross_fit(alike, np.arange(20) % 4, 0.95) is None


def test_the_file_gives_the_same_scores_and_the_same_bytes(
    fitted: novelty.Novelty, tmp_path: Path
) -> None:
    sha256 = novelty.write(fitted, tmp_path / "one.npz")
    assert novelty.write(fitted, tmp_path / "two.npz") == sha256
    fresh = features(30, 5)
    found = novelty.read(tmp_path / "one.npz", sha256).scores(fresh)
    np.testing.assert_allclose(found, fitted.scores(fresh), rtol=1e-4)


def packed(**arrays: object) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def bomb() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("centre.npy", bytes(novelty.LARGEST_FILE_BYTES + 1))
    return stream.getvalue()


BAD: dict[str, Callable[[], bytes]] = {
    "no archive": lambda: b"text",
    "bomb": bomb,
    "missing": lambda: packed(centre=np.zeros(3)),
    "pickle": lambda: packed(**dict.fromkeys(novelty.ARRAYS, np.array([{}], object))),
    "shapes": lambda: packed(**dict.fromkeys(novelty.ARRAYS, np.zeros(3))),
}


@pytest.mark.parametrize("case", BAD)
def test_a_damaged_file_is_refused_by_its_name(tmp_path: Path, case: str) -> None:
    path = tmp_path / "novelty.npz"
    path.write_bytes(BAD[case]())
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(artifacts.ArtifactError, match=r"novelty\.npz"):
        novelty.read(path, sha256)


def test_another_file_than_the_recorded_one_is_refused(
    fitted: novelty.Novelty, tmp_path: Path
) -> None:
    novelty.write(fitted, tmp_path / "novelty.npz")
    with pytest.raises(artifacts.ArtifactError, match="is not the file that its training recorded"):
        novelty.read(tmp_path / "novelty.npz", "0" * 64)
    with pytest.raises(artifacts.ArtifactError, match="does not exist"):
        novelty.read(tmp_path / "absent.npz", "0" * 64)


def test_strangers_are_the_same_for_a_seed_and_differ_within_a_kind() -> None:
    one, two = non_radiographs.draw_all(32, 3, 0), non_radiographs.draw_all(32, 3, 0)
    assert len(one) >= 5
    for kind, pictures in one.items():
        assert pictures.shape == (3, 32, 32)
        assert pictures.dtype == np.uint8
        np.testing.assert_array_equal(pictures, two[kind])
        assert (pictures[0] != pictures[1]).any()


def test_out_of_fold_limits_are_passed_by_the_share_that_was_asked_for() -> None:
    random = np.random.default_rng(5)
    images = random.normal(size=(400, 12)) + 3
    found = novelty.cross_fit(images, np.arange(400) % 5, 0.9)
    assert found is not None
    model, held_out = found
    assert (held_out <= 1).mean() == pytest.approx(0.9, abs=0.01)
    new = random.normal(size=(2000, 12)) + 3
    assert 0.85 < (model.scores(new) <= 1).mean() < 0.95
    assert (model.scores(-new) > 1).mean() > 0.99


def test_too_few_images_of_the_other_folds_have_no_score() -> None:
    assert novelty.cross_fit(np.eye(8), np.arange(8) % 2, 0.9) is None


def test_features_of_an_unusual_length_alone_are_flagged() -> None:
    """As those of a printed page of a net that was trained from random weights."""
    model = novelty.fit(features(120, 0), features(60, 1), 0.95)
    assert model is not None
    fresh = features(60, 2)
    for factor in (4.0, 0.25):
        np.testing.assert_allclose(model.distances(fresh * factor), model.distances(fresh))
        assert (model.scores(fresh * factor) > 1).all()


def test_a_file_of_an_earlier_version_gives_distances_only(
    fitted: novelty.Novelty, tmp_path: Path
) -> None:
    arrays = {name: np.asarray(getattr(fitted, name), np.float32) for name in novelty.ARRAYS}
    content = packed(**arrays)
    (tmp_path / "old.npz").write_bytes(content)
    old = novelty.read(tmp_path / "old.npz", hashlib.sha256(content).hexdigest())
    fresh = features(30, 5)
    expected = fitted.distances(fresh) / fitted.limit
    np.testing.assert_allclose(old.scores(fresh), expected, rtol=1e-4)
    np.testing.assert_allclose(old.scores(fresh * 4), expected, rtol=1e-4)


def test_scores_of_drawn_non_radiographs_are_known_of_the_same_number_and_seed_alone() -> None:
    noted = {"non_radiographs": {"scores": {"noise": [2.0, 3.0], "text": [1.5, 4.0]}, "seed": 42}}
    found = novelty.known_scores(noted, 2, 42)
    assert {kind: values.tolist() for kind, values in found.items()} == {
        "noise": [2.0, 3.0],
        "text": [1.5, 4.0],
    }
    assert novelty.known_scores(noted, 3, 42) == {}
    assert novelty.known_scores(noted, 2, 7) == {}
    assert novelty.known_scores({"limit": 1.0}, 2, 42) == {}
