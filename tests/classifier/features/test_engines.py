"""Engines agree: on features, on what follows from them, and with themselves."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from knee.classifier.features import engines
from knee.classifier.net.design import BackboneDesign
from tests.classifier.conftest import Films

FLOAT32_COSINE, BFLOAT16_COSINE = 0.99999, 0.99
FLOAT32_PROBABILITY, BFLOAT16_PROBABILITY = 1e-4, 0.03  # largest difference


@pytest.fixture
def has_openvino() -> None:
    """Skip without it; to import it here would load its telemetry."""
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed")


@pytest.fixture
def frozen(tiny: BackboneDesign) -> Any:
    """A backbone none of which is trained."""
    from knee.classifier.net import fine_tuning

    return fine_tuning.split_backbone(dataclasses.replace(tiny, train_from="head"))[0]


def outputs(model: Any, engine: engines.Engine, pixels: npt.NDArray[np.uint8]) -> Any:
    """What an engine makes of `pixels`, float32."""
    import tensorflow as tf

    forward: engines.Forward
    if engine.name == "openvino":
        forward = engines.OpenVinoForward(model, engine.precision)
    else:
        forward = engines.TensorFlowForward(model, tf.distribute.get_strategy(), batch_size=5)
    made = np.empty((len(pixels), *forward.output_shape), np.float32)
    forward.fill(pixels, made)
    return made


def cosine(one: npt.NDArray[np.float32], two: npt.NDArray[np.float32]) -> float:
    """The smallest over the rows."""
    one, two = one.reshape(len(one), -1), two.reshape(len(two), -1)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    return float(((one * two).sum(axis=1) / norms).min())


@pytest.mark.tf
def test_tensorflow_fills_what_the_model_gives(tiny: BackboneDesign, films: Films) -> None:
    from knee.classifier.net import fine_tuning

    frozen, _ = fine_tuning.split_backbone(dataclasses.replace(tiny, train_from="head"))
    made = outputs(frozen, engines.Engine("tensorflow", "float32"), films.pixels[:13])
    expected = frozen(films.pixels[:13, ..., None].astype(np.float32))
    np.testing.assert_allclose(made, expected, atol=1e-5)


def both_precisions() -> list[tuple[engines.Engine, float, float]]:
    """Of OpenVINO: the engine, how alike features must be, how far apart probabilities may be."""
    return [
        (engines.choose("openvino", "float32"), FLOAT32_COSINE, FLOAT32_PROBABILITY),
        # float32 again where there is no bfloat16
        (engines.choose("openvino", "auto"), BFLOAT16_COSINE, BFLOAT16_PROBABILITY),
    ]


def coarse_films(side: int) -> npt.NDArray[np.uint8]:
    """Not noise: films have shapes."""
    coarse = np.random.default_rng(0).integers(0, 256, (9, 9, 9), np.uint8)
    return np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)[:, :side, :side]


@pytest.mark.tf
@pytest.mark.usefixtures("has_openvino")
@pytest.mark.parametrize("name", ["mobilenet", "xception"])
def test_openvino_gives_the_features_and_predictions_of_tensorflow(name: str) -> None:
    """What Keras computes step by step is TensorFlow's: nothing is traced."""
    from knee.classifier.net import assembly, heads

    films = coarse_films(72)
    parts = assembly.build(
        BackboneDesign(name, 72, train_from="head"), heads.HeadDesign(dense_units=16), 3
    )
    expected = parts.frozen(films[..., None].astype(np.float32))
    probabilities = parts.trained(expected)
    for engine, alike, apart in both_precisions():
        features = outputs(parts.frozen, engine, films)
        assert cosine(features, np.asarray(expected)) > alike
        np.testing.assert_allclose(parts.trained(features), probabilities, atol=apart)


@pytest.mark.tf
@pytest.mark.usefixtures("has_openvino")
def test_openvino_gives_the_predictions_of_a_whole_classifier(tiny: BackboneDesign) -> None:
    from knee.classifier.net import assembly, heads

    films = coarse_films(tiny.side_pixels)
    whole = assembly.build(tiny, heads.HeadDesign(projection_channels=8, dense_units=16), 3).whole
    expected = outputs(whole, engines.Engine("tensorflow", "float32"), films)
    for engine, _, apart in both_precisions():
        np.testing.assert_allclose(outputs(whole, engine, films), expected, atol=apart)


@pytest.mark.tf
@pytest.mark.usefixtures("has_openvino")
def test_the_same_images_give_the_same_bytes_wherever_they_stand(frozen: Any, films: Films) -> None:
    forward = engines.OpenVinoForward(frozen, engines.choose("openvino").precision)
    made = np.empty((2, 20, *forward.output_shape), np.float16)
    forward.fill(films.pixels[:20], made[0])
    forward.fill(films.pixels[:7], made[1, :7])
    forward.fill(films.pixels[7:20], made[1, 7:])
    assert made[0].tobytes() == made[1].tobytes()
    again = engines.OpenVinoForward(frozen, engines.choose("openvino").precision)
    again.fill(films.pixels[:20], made[1])
    assert made[0].tobytes() == made[1].tobytes()


@pytest.mark.tf
@pytest.mark.usefixtures("has_openvino")
def test_nets_of_few_cores_are_not_all_bound_to_the_first_one(frozen: Any, tmp_path: Path) -> None:
    engines.export_graph(frozen, tmp_path / "net.xml")
    compiled = engines.compiled_file(tmp_path / "net.xml", "float32", 1, cores=1)
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert not compiled.get_property("ENABLE_CPU_PINNING")


@pytest.mark.usefixtures("has_openvino")
def test_auto_is_openvino_without_gpus_and_tensorflow_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines, "gpu_is_visible", lambda: False)
    assert engines.choose().name == "openvino"
    monkeypatch.setattr(engines, "gpu_is_visible", lambda: True)
    assert engines.choose() == engines.Engine("tensorflow", "float32")


def test_without_openvino_auto_is_tensorflow_and_its_name_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert engines.choose().name == "tensorflow"
    with pytest.raises(engines.EngineError, match="not installed"):
        engines.choose("openvino")


def test_hidden_gpus_are_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    monkeypatch.setattr(Path, "glob", lambda *_: iter([Path("/dev/nvidia0")]))
    assert not engines.gpu_is_visible()


@pytest.mark.usefixtures("has_openvino")
def test_openvinos_telemetry_is_not_loaded() -> None:
    engines.openvino()
    assert sys.modules["openvino_telemetry"] is None


def test_a_batch_is_filled_with_its_last_image() -> None:
    images = np.arange(3, dtype=np.uint8)[:, None, None]
    assert engines.padded(images, 5).ravel().tolist() == [0, 1, 2, 2, 2]
    assert engines.padded(images, 3) is images
