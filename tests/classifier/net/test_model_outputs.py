"""Temperature folded into the last layer, and features from the same pass as probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from knee.classifier.net.design import BackboneDesign
from knee.classifier.training import observe
from knee.evidence.uncertainty import calibration, prediction_limits
from tests.classifier.conftest import Films
from tests.tiny_classifier import classifier

pytestmark = pytest.mark.tf


@pytest.mark.parametrize("temperature", [0.4, 3.0])
def test_folding_equals_scaling_and_keeps_the_predicted_class(
    films: Films, temperature: float
) -> None:
    from knee.classifier.net import saved

    model = classifier(16)
    before = saved.predict(model, films.pixels)
    saved.apply_temperature(model, temperature)
    after = saved.predict(model, films.pixels)
    np.testing.assert_allclose(after, calibration.scaled(before, temperature), atol=1e-6)
    np.testing.assert_allclose(calibration.scaled(after, 1 / temperature), before, atol=1e-5)
    assert (after.argmax(axis=1) == before.argmax(axis=1)).all()


@pytest.mark.parametrize("train_from", ["head", "two", "all"])
def test_what_training_reads_gives_what_the_whole_model_gives(
    tiny: BackboneDesign, films: Films, train_from: str
) -> None:
    import dataclasses

    from knee.classifier.features.feature_source import Source
    from knee.classifier.net import assembly, heads, saved

    design = dataclasses.replace(tiny, train_from=train_from)
    parts = assembly.build(design, heads.HeadDesign(projection_channels=8), 3)
    made = np.asarray(parts.frozen(films.pixels[..., None].astype(np.float32)))
    source = Source(made[None].astype(np.float32), pixels=False)
    if train_from == "all":
        source = Source(films.pixels[None], pixels=True)
    rows = np.array([5, 0, 17])
    found = observe.observe(parts.whole, source, rows)
    joint = saved.predict(saved.with_features(parts.whole), films.pixels[rows])
    expected = prediction_limits.split_outputs(joint, 3)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)
    np.testing.assert_allclose(found.features, expected.features, atol=1e-4)
    alone = observe.features(parts.whole, source, rows), saved.features(parts.whole, films.pixels)
    np.testing.assert_allclose(alone[0], found.features, atol=1e-5)
    np.testing.assert_allclose(alone[1][rows], expected.features, atol=1e-5)
    whole = saved.predict(parts.whole, films.pixels[rows])
    np.testing.assert_allclose(expected.probabilities, whole, atol=1e-6)


def test_training_images_are_counted_once_and_evenly_spaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert observe.subsample_rows(np.array([3, 3, 1, 2, 1])).tolist() == [1, 2, 3]
    monkeypatch.setattr(observe, "MAXIMUM_IMAGES", 3)
    assert observe.subsample_rows(np.arange(101)).tolist() == [0, 50, 100]
