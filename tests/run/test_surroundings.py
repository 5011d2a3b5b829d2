"""What a user's variables and keras.json would change of the numbers does not reach Keras."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from knee.run import surroundings

ROOT = Path(__file__).parents[2]
DECIDING = {
    "KERAS_BACKEND": "jax",
    "KERAS_MAX_EPOCHS": "1",
    "KERAS_MAX_STEPS_PER_EPOCH": "1",
    "KERAS_NNX_ENABLED": "1",
    "NVIDIA_TF32_OVERRIDE": "1",
    "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "TF_DETERMINISTIC_OPS": "0",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_USE_LEGACY_KERAS": "1",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2",
    "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
}
SET = {"KERAS_BACKEND": "tensorflow", "TF_ENABLE_ONEDNN_OPTS": "1"}
HARMLESS = {
    "CUDA_VISIBLE_DEVICES": "0",
    "HOME": "/home/somebody",
    "NVIDIA_VISIBLE_DEVICES": "all",
    "OMP_NUM_THREADS": "2",
    "TF_CLI_CONFIG_FILE": "/home/somebody/.terraformrc",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "TF_VAR_region": "eu",
}
ODD: list[Any] = [
    {"floatx": "float16"},
    {"floatx": "float64"},
    {"floatx": "nonsense"},
    {"epsilon": 0.001},
    {"epsilon": 1},
    {"image_data_format": "channels_first"},
    {"nnx_enabled": True},
    ["no mapping"],
    "no JSON {",
]
PROGRAM = """
import json, os
from knee.classifier.net import heads
import keras
print(json.dumps([keras.backend.backend(), keras.config.floatx(), keras.config.epsilon(),
    keras.config.image_data_format(), keras.config.max_epochs(), os.environ["KERAS_HOME"],
    os.path.realpath(os.environ["KERAS_HOME"] + "/models")]))
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path


def test_deciding_variables_go_and_are_named_and_harmless_ones_stay(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environment = {**DECIDING, **HARMLESS, "KERAS_HOME": str(home)}
    surroundings.settle(environment)
    assert environment == {**HARMLESS, "KERAS_HOME": str(home), **SET}
    (record,) = caplog.records
    assert all(name in record.getMessage() for name in DECIDING)
    surroundings.settle(environment)  # as the processes do that inherit it
    assert len(caplog.records) == 1


@pytest.mark.parametrize("backend", ["tensorflow", "openvino", ""])
def test_a_backend_of_the_project_is_no_news(
    backend: str, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environment = {"KERAS_BACKEND": backend, "KERAS_HOME": str(home)}
    surroundings.settle(environment)
    assert environment["KERAS_BACKEND"] == "tensorflow"
    assert not caplog.records


@pytest.mark.parametrize("content", ODD, ids=str)
def test_settings_of_keras_give_way_and_its_downloads_stay(
    content: object, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (home / "keras.json").write_text(text)
    environment = {"KERAS_HOME": str(home)}
    surroundings.settle(environment)
    assert environment["KERAS_HOME"] != str(home)
    assert not (Path(environment["KERAS_HOME"]) / "keras.json").exists()
    assert (Path(environment["KERAS_HOME"]) / "models").resolve() == home / "models"
    assert (home / "keras.json").read_text() == text
    assert "keras.json" in caplog.text


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_the_keras_json_that_keras_writes_itself_is_left_alone(
    backend: str, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = {
        "floatx": "float32",
        "epsilon": 1e-07,
        "backend": backend,
        "image_data_format": "channels_last",
    }
    (home / "keras.json").write_text(json.dumps(written, indent=4))
    environment = {"KERAS_HOME": str(home)}
    surroundings.settle(environment)
    assert environment["KERAS_HOME"] == str(home)
    assert not caplog.records


@pytest.mark.parametrize("kind", ["read-only", "unknown"])
def test_the_settings_in_the_temporary_folder_of_all_users_give_way(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(surroundings, "NO_HOME", tmp_path)
    monkeypatch.setattr(Path, "home", unknown if kind == "unknown" else lambda: tmp_path / "gone")
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text('{"floatx": "float16"}')
    environment = {"KERAS_HOME": ""}
    surroundings.settle(environment)
    assert not Path(environment["KERAS_HOME"]).is_relative_to(tmp_path / ".keras")


def test_keras_computes_as_ever_in_hostile_surroundings(home: Path) -> None:
    (home / "keras.json").write_text(json.dumps({"floatx": "float16", "backend": "torch"}))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={**os.environ, **DECIDING, "KERAS_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    *numbers, own, models = json.loads(done.stdout.splitlines()[-1])
    assert numbers == ["tensorflow", "float32", 1e-7, "channels_last", None]
    assert models == str(home / "models")
    assert not Path(own).exists()  # it goes with the process
    assert done.stderr.count("not used, since numbers would depend on it") == 1
