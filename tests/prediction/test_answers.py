"""Served answers are the batch prediction's numbers, and their heat map is evaluate's."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import psutil
import pytest
from PIL import Image

from knee.drawing import contact_sheets
from knee.prediction import request_images, synthetic_model
from knee.prediction.synthetic_model import Answerable
from knee.storage import provenance
from tests import films as drawn
from tests.reading import dicom_files
from tests.stages.test_predict import NAMES, main, rows, write_model

if TYPE_CHECKING:
    from knee.prediction.answers import Answers

pytestmark = [
    pytest.mark.tf,
    pytest.mark.skipif(
        importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed"
    ),
]


def files() -> dict[str, bytes]:
    """Films as PNG, JPEG and DICOM."""
    wide = np.asarray(drawn.film(3).convert("L").resize((70, 50)), np.uint16) * 16
    return {
        "a.png": drawn.encoded(drawn.film(1), "PNG"),
        "b.jpg": drawn.encoded(drawn.film(2), "JPEG"),
        "c.dcm": dicom_files.dicom(wide),
        "d.dcm": dicom_files.dicom(wide, PhotometricInterpretation="MONOCHROME1"),
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("answers")
    write_model(root / "model")
    return root


@pytest.fixture
def without_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is computed: TensorFlow's start takes seconds."""
    monkeypatch.setattr("knee.prediction.answers.GradientProcess", mock.MagicMock())
    monkeypatch.setattr("knee.classifier.features.engines.CompiledNet", mock.MagicMock())


@pytest.fixture(scope="module")
def answers(trained: Path) -> Iterator[Answers]:
    from knee.classifier.net.trained_model import TrainedModel
    from knee.prediction.answers import Answers

    made = Answers(TrainedModel.read(trained / "model", "knees", "7"))
    yield made
    made.close()


def test_the_numbers_are_those_of_the_batch_prediction(
    trained: Path, answers: Answers, tmp_path: Path
) -> None:
    folder = drawn.fill(tmp_path / "films", files())
    out = tmp_path / "out.csv"
    assert main(trained, str(folder), "--engine", "openvino", "--out", str(out)) == 0
    found = [each.values for each in answers.answer(list(files().values()))]
    for row, values in zip(rows(out), found, strict=True):
        assert row["reason"] == ""
        assert values["class"] == row["predicted"]
        assert values["median_class"] == row["median_class"]
        assert "|".join(values["prediction_set"]) == row["prediction_set"]
        assert str(values["is_out_of_distribution"]) == row["is_out_of_distribution"]
        assert values["warning"] == row["warning"]
        expected = [float(row[f"probability_{name}"]) for name in NAMES]
        np.testing.assert_allclose(list(values["probabilities"].values()), expected, rtol=2e-6)
        unlike = float(row["out_of_distribution"])
        assert values["out_of_distribution"] == pytest.approx(unlike, rel=1e-5, abs=2e-6)


def test_an_answer_names_the_model_and_is_json(answers: Answers) -> None:
    (answered,) = answers.answer([files()["a.png"]])
    text = json.dumps(answered.as_json(), allow_nan=False)
    assert json.loads(text) == answered.values
    assert answered.values["model"] == {"name": "knees", "version": "7", "backbone": "tiny"}
    assert list(answered.values["probabilities"]) == NAMES
    assert answered.values["notes"]


def test_a_model_of_drawn_images_says_so_first_and_refuses_others(
    answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = (files()[name] for name in ("a.png", "b.jpg"))
    (answered,) = answers.answer([own])
    listed = {"synthetic_images": [provenance.image_digest(answered.answers[0].pixels)]}
    monkeypatch.setattr(answers, "training", {**answers.training, "synthetic": True, **listed})
    only_own = Answerable.by(answers.training, synthetic_model_ok=False)
    monkeypatch.setattr(answers, "_answerable", only_own)
    (answered,) = answers.answer([own])
    first, said = next(iter(answered.as_json().items()))
    assert (first, said) == (synthetic_model.COLUMN, synthetic_model.WARNING)
    with pytest.raises(request_images.RefusedError, match=f"^image 2: .*{synthetic_model.FLAG}"):
        answers.answer([own, other])


def test_the_overlay_is_what_evaluate_draws(trained: Path, answers: Answers) -> None:
    from knee.classifier.attribution import grad_cam
    from knee.classifier.net import saved

    model = grad_cam.halves(saved.load_model(trained / "model" / "model.keras"))
    for (answered,) in (each.answers for each in answers.answer([*files().values()], explain=True)):
        film = answered.pixels
        number = np.array([NAMES.index(answered.values["class"])])
        (heat,) = grad_cam.grad_cam(model, film[np.newaxis], number)
        expected = np.asarray(contact_sheets.overlay(film, heat, len(film)), np.int16)
        content = base64.b64decode(answered.as_json()["grad_cam"])
        drawn_ = np.asarray(Image.open(io.BytesIO(content)), np.int16)
        assert np.abs(drawn_ - expected).max() <= 1  # a gray level, by the last digit of a gradient
        assert np.ptp(heat) > 0.5


def test_the_process_with_tensorflow_starts_no_other_one(answers: Answers) -> None:
    """OpenVINO's telemetry would: it reports imports and conversions to its makers."""
    answers.answer([files()["a.png"]], explain=True)
    assert answers._gradients._worker is not None
    started = psutil.Process(answers._gradients._worker.process.pid)
    assert started.children(recursive=True) == []


@pytest.mark.slow
def test_the_process_with_tensorflow_is_started_again_after_it_died(answers: Answers) -> None:
    (before,) = answers.answer([files()["a.png"]], explain=True)
    assert answers._gradients._worker is not None
    answers._gradients._worker.process.kill()
    (after,) = answers.answer([files()["a.png"]], explain=True)
    assert after.answers[0].overlay == before.answers[0].overlay


@pytest.mark.usefixtures("without_processes")
def test_an_answer_does_not_say_where_a_model_folder_lies(trained: Path) -> None:
    from knee.classifier.net.trained_model import TrainedModel
    from knee.prediction.answers import Answers

    with contextlib.closing(Answers(TrainedModel.read(trained / "model", "/home/x/model"))) as made:
        assert made.model["name"] == "model"


def test_many_threads_get_each_their_own_answer(answers: Answers) -> None:
    contents = list(files().values())
    expected = [answers.answer([content])[0].values for content in contents]

    def ask(number: int) -> dict[str, Any]:
        return answers.answer([contents[number % 4]])[0].values

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(80)))
    assert found == [expected[number % 4] for number in range(80)]


def test_a_refusal_names_the_images_number(answers: Answers) -> None:
    content = files()["a.png"]
    with pytest.raises(request_images.RefusedError, match=r"^image 2: "):
        answers.answer([content, content[:100], content])
    for count in (0, request_images.IMAGES + 1):
        with pytest.raises(request_images.RefusedError, match="images in a request"):
            answers.answer([content] * count)


def test_images_that_nobody_waits_for_are_not_looked_at(answers: Answers) -> None:
    from knee.prediction.graph_answers import AbandonedError

    abandoned = threading.Event()
    abandoned.set()
    with pytest.raises(AbandonedError):
        answers.answer([b"no image"] * 16, abandoned=abandoned)


def test_another_models_file_is_not_served(trained: Path, tmp_path: Path) -> None:
    from knee.classifier.inference.gradient_worker import GradientProcessError
    from knee.classifier.net.trained_model import TrainedModel
    from knee.prediction.answers import Answers

    for file in (trained / "model").iterdir():
        content = file.read_bytes()
        (tmp_path / file.name).write_bytes(content + b" " * (file.suffix == ".keras"))
    with pytest.raises(GradientProcessError, match="not the model that its training recorded"):
        Answers(TrainedModel.read(tmp_path))
