"""The embed stage: where it does nothing, and what it writes."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from knee.run import parameters
from stages import embed
from tests import shards

ROOT = Path(__file__).parents[2]
IMAGES = "split_images.csv"
ROWS = (0, 1, 4, 5, 6, 9, 10)


def settings(**changes: object) -> parameters.Params:
    """params.yaml with some of its keys changed: weights, embed, model."""
    loaded = parameters.load(ROOT / "params.yaml")
    model = dataclasses.replace(loaded.model, train_from=str(changes.pop("train_from", "auto")))
    chosen = dataclasses.replace(loaded.embed, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(loaded, weights="none", model=model, embed=chosen)


@pytest.fixture
def pixels(tmp_path: Path) -> Path:
    """Eleven small images, of which the split has seven."""
    path = tmp_path / "pixels"
    shards.save(path, np.random.default_rng(0).integers(0, 256, (11, 32, 32), np.uint8))
    (tmp_path / IMAGES).write_text("\n".join(["pixel_row", *map(str, ROWS)]))
    return path


def run(chosen: parameters.Params, pixels: Path, out: Path) -> None:
    known, images = out.with_name("known"), pixels.with_name(IMAGES)
    embed.run(chosen, embed.Paths("mobilenet", pixels, images, known, out))


def test_where_all_is_trained_only_the_design_is_written(pixels: Path, tmp_path: Path) -> None:
    run(settings(), pixels, tmp_path / "features")
    assert [path.name for path in (tmp_path / "features").iterdir()] == ["design.json"]


def test_where_all_is_trained_no_engine_is_imported(pixels: Path, tmp_path: Path) -> None:
    arguments = ["--backbone", "mobilenet", "--pixels", str(pixels)]
    arguments += ["--images", str(pixels.with_name(IMAGES))]
    arguments += ["--features-out", str(tmp_path / "f"), "--known-results", str(tmp_path / "known")]
    program = f"""
import sys
from stages import embed
assert embed.main({arguments!r}) == 0
print(*sys.modules, sep="\\n")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"tensorflow", "keras", "openvino"} & set(done.stdout.split())


@pytest.mark.tf
def test_on_a_processor_features_need_neither_tensorflow_nor_the_network(
    pixels: Path, tmp_path: Path
) -> None:
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed")
    (tmp_path / "home").mkdir()
    program = f"""
import os, pathlib, socket, sys
def refuse(*_, **__):
    raise AssertionError("the network is asked")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
sys.path.insert(0, {str(ROOT)!r})
from tests import shards
from tests.stages import test_embed
chosen = test_embed.settings(train_from="conv_pw_2", engine="openvino")
test_embed.run(chosen, pathlib.Path({str(pixels)!r}), pathlib.Path({str(tmp_path)!r}) / "features")
assert "tensorflow" not in sys.modules
assert "openvino_telemetry.main" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "", "HOME": str(tmp_path / "home"), "KERAS_HOME": str(tmp_path / "keras")},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not (tmp_path / "home" / "intel").exists()  # where OpenVINO's telemetry writes
    features = shards.load(tmp_path / "features" / "features").swapaxes(0, 1)
    assert features.shape == (2, len(ROWS), 8, 8, 64)
    images = np.load(tmp_path / "features" / "images.npy", allow_pickle=False)
    np.testing.assert_array_equal(images, ROWS)
    assert features.dtype == np.float16
    origin = json.loads((tmp_path / "features" / "embedding.json").read_text())
    assert origin["views"] == ["image", "mirror"]
    assert origin["engine"] == "openvino"


def test_frozen_layers_of_random_weights_are_said_to_be_worthless(
    pixels: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(settings(train_from="conv_pw_2", engine="openvino"), pixels, tmp_path / "features")
    assert "the frozen layers are drawn at random" in caplog.text


def test_a_file_that_is_no_array_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pixels").mkdir()
    (tmp_path / "pixels" / "00000.npy").write_bytes(b"none")
    arguments = ["--params", str(ROOT / "params.yaml"), "--backbone", "mobilenet"]
    arguments += ["--pixels", str(tmp_path / "pixels"), "--known-results", str(tmp_path / "k")]
    arguments += ["--images", str(tmp_path / IMAGES)]
    assert embed.main([*arguments, "--features-out", str(tmp_path / "f")]) == 1
    message = capsys.readouterr().err
    assert message.startswith("embed: ")
    assert "00000.npy is no array file" in message
    assert not (tmp_path / "f").exists()
