"""Saved models and Grad-CAM."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from knee.classifier.net.design import BackboneDesign
from knee.storage import artifacts
from tests import shards
from tests.classifier.conftest import SIDE, Films

pytestmark = pytest.mark.tf


def test_a_saved_model_predicts_as_before_from_raw_pixels(
    tiny: BackboneDesign, films: Films, tmp_path: Path
) -> None:
    from knee.classifier.net import assembly, heads, saved

    parts = assembly.build(tiny, heads.HeadDesign(projection_channels=8), 3)
    digest = saved.save_model(parts.whole, tmp_path / "model.keras")
    loaded = saved.load_model(tmp_path / "model.keras", digest)
    np.testing.assert_allclose(
        saved.predict(loaded, films.pixels), saved.predict(parts.whole, films.pixels), atol=1e-6
    )
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


def test_another_file_than_the_recorded_one_is_refused(tmp_path: Path) -> None:
    from knee.classifier.net import saved

    file = tmp_path / "model.keras"
    with pytest.raises(artifacts.ArtifactError, match="does not exist"):
        saved.load_model(file)
    file.write_bytes(b"something else")
    with pytest.raises(artifacts.ArtifactError, match="not the model"):
        saved.load_model(file, "0" * 64)


def test_code_in_a_model_file_is_refused(tmp_path: Path) -> None:
    import keras

    from knee.classifier.net import saved

    pixels = keras.Input((2,))
    model = keras.Model(pixels, keras.layers.Lambda(lambda x: x + 1)(pixels))
    model.save(tmp_path / "lambda.keras")
    with pytest.raises(ValueError, match=r"[Ll]ambda"):
        saved.load_model(tmp_path / "lambda.keras")


def test_training_reads_pixels_where_there_are_no_features(films: Films, tmp_path: Path) -> None:
    from knee.classifier.features import feature_source

    shards.save(tmp_path / "pixels", films.pixels)
    source = feature_source.open_source(tmp_path, tmp_path / "pixels")
    assert source.pixels
    assert source.values.shape == (1, *films.pixels.shape)


@pytest.mark.parametrize("train_from", ["all", "head", "two"])
def test_grad_cam_is_a_map_between_0_and_1(
    tiny: BackboneDesign, films: Films, train_from: str
) -> None:
    from knee.classifier.attribution import grad_cam
    from knee.classifier.net import assembly, heads

    design = dataclasses.replace(tiny, train_from=train_from)
    parts = assembly.build(design, heads.HeadDesign(projection_channels=8), 3)
    heat = grad_cam.grad_cam(
        grad_cam.halves(parts.whole), films.pixels[:5], films.classes[:5], batch_size=2
    )
    assert heat.shape == (5, SIDE, SIDE)
    assert heat.min() >= 0
    assert heat.max() <= 1


def test_grad_cam_lies_where_the_evidence_is() -> None:
    import keras
    from keras import layers

    from knee.classifier.attribution import grad_cam
    from knee.classifier.net.assembly import FEATURE_MAP

    features = keras.Input((4, 4, 1))
    hidden = layers.Activation("linear", name=FEATURE_MAP)(features)
    hidden = layers.GlobalAveragePooling2D()(hidden)
    dense = layers.Dense(2, activation="softmax", name="probabilities")
    trained = keras.Model(features, dense(hidden))
    dense.set_weights([np.array([[1.0, -1.0]]), np.zeros(2)])
    pixels = keras.Input((8, 8, 1))
    frozen = keras.Model(pixels, layers.AveragePooling2D(2)(pixels))
    whole = keras.Model(pixels, trained(frozen(pixels)))
    film = np.zeros((1, 8, 8), np.uint8)
    film[0, :2, 6:] = 8
    heat = grad_cam.grad_cam(grad_cam.halves(whole), film, np.array([0]))
    assert np.unravel_index(heat[0].argmax(), (8, 8)) in {(r, c) for r in (0, 1) for c in (6, 7)}
    assert heat[0, 5:, :3].max() == 0
