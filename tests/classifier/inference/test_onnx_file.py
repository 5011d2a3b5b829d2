"""The ONNX file computes what the model computes, for a reader that knows neither Keras nor us."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from knee.classifier.inference import onnx_file
from knee.classifier.net.trained_model import TrainedModel
from knee.evidence.uncertainty import prediction_limits
from tests.stages.test_predict import NAMES, ROOT, shafts, write_model
from tests.tiny_classifier import classifier

pytestmark = pytest.mark.tf


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    folder = tmp_path_factory.mktemp("onnx") / "model"
    write_model(folder)
    return TrainedModel.read(folder)


def test_an_onnx_file_answers_as_the_model_does_and_says_what_it_is(
    trained: TrainedModel, tmp_path: Path
) -> None:
    from knee.classifier.net import saved

    file = tmp_path / "new" / "model.onnx"
    words = [f"--model={trained.folder}", f"--onnx={file}", f"--params={ROOT / 'params.yaml'}"]
    assert importlib.import_module("stages.export").main(words) == 0
    pixels = shafts(5, 2)
    found = onnx_file.outputs(file, pixels[..., np.newaxis].astype(np.float32))
    expected = prediction_limits.split_outputs(
        saved.predict(saved.with_features(trained.load()), pixels), len(NAMES)
    )
    assert set(found) == {"probabilities", "features"}
    np.testing.assert_allclose(found["probabilities"], expected.probabilities, atol=1e-5)
    np.testing.assert_allclose(found["features"], expected.features, rtol=1e-4, atol=1e-5)
    facts = {each.key: each.value for each in onnx.load(str(file)).metadata_props}
    assert json.loads(facts["classes"]) == NAMES
    assert facts["model_sha256"] == trained.training["model_sha256"]
    assert str(tmp_path).encode() not in file.read_bytes()


def test_the_activation_that_the_converter_does_not_know_is_converted(
    trained: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = classifier(trained.canonical.side_pixels, activation="gelu")
    monkeypatch.setattr(TrainedModel, "load", lambda _: model)
    assert onnx_file.write(trained, tmp_path / "model.onnx") < 1e-5
    kinds = {node.op_type for node in onnx.load(str(tmp_path / "model.onnx")).graph.node}
    assert "Erf" in kinds
    assert "Erfc" not in kinds


def test_a_file_that_computes_something_else_is_not_written(
    trained: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "_difference", lambda *_: float("nan"))
    with pytest.raises(onnx_file.OnnxError, match="differ by nan"):
        onnx_file.write(trained, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_write_is_one_message(capfd: pytest.CaptureFixture[str]) -> None:
    assert importlib.import_module("stages.export").main([]) == 1
    assert capfd.readouterr().err == "export: give FOLDER, --onnx FILE or both\n"
