"""The logged model."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from stages import tracking
from stages.tracking import models, store
from stages.tracking.evidence import Evidence
from tests.tracking.runs import only_run


def test_the_logged_model_has_signature_example_and_the_trained_bytes(
    evidence: Evidence, tmp_path: Path
) -> None:
    tracking.publish(evidence)
    model = store.connect().client.get_logged_model(only_run().outputs.model_outputs[0].model_id)
    assert str(model.status) == "READY"
    folder = Path(model.artifact_location.removeprefix("file://"))
    description = (folder / "MLmodel").read_text()
    assert "[-1, 16, 16, 1]" in " ".join(description.split())
    assert (folder / "input_example.json").is_file()
    assert evidence.model is not None
    assert (folder / "artifacts" / "model.keras").read_bytes() == evidence.model.read_bytes()
    assert not list(folder.rglob("*.pkl"))
    assert str(Path.cwd()) not in description
    assert str(tmp_path / "work") not in description


def test_an_interrupted_upload_of_the_model_is_completed(evidence: Evidence) -> None:
    client = store.connect().client
    tracking.publish(dataclasses.replace(evidence, model=None))
    assert evidence.model is not None
    sha256 = models.sha256_of(evidence.model)
    begun = models._create(store.connect(), only_run(), evidence, sha256)
    tracking.publish(evidence)
    outputs = only_run().outputs.model_outputs
    assert [output.model_id for output in outputs] == [begun.model_id]
    assert str(client.get_logged_model(begun.model_id).status) == "READY"


@pytest.mark.tf
@pytest.mark.filterwarnings("ignore")
def test_the_logged_model_predicts_and_refuses_what_is_no_radiograph(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras
    import mlflow
    import numpy as np

    keras_model = keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    assert evidence.model is not None
    keras_model.save(evidence.model)
    tracking.publish(evidence)
    model_id = only_run().outputs.model_outputs[0].model_id
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.tracking_uri())
    loaded = mlflow.pyfunc.load_model(f"models:/{model_id}")
    images = np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 1)).astype(np.float32)
    np.testing.assert_allclose(loaded.predict(images), keras_model.predict(images), atol=1e-6)
    assert loaded.predict(loaded.input_example).shape == (1, 2)
    for bad in (images * np.nan, images + 255, images - 255, images[:, :8], images[:0]):
        with pytest.raises(mlflow.MlflowException):
            loaded.predict(bad)
