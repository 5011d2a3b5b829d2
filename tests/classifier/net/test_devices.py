"""Two devices against one, in a fresh interpreter: logical devices are made before TensorFlow."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from knee.run.errors import UserError

ROOT = Path(__file__).parents[3]
PROGRAM = """
import json, sys
import numpy as np
import tensorflow as tf
import keras
from keras import layers
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from pathlib import Path
from knee.classifier.features import engines, feature_source
from knee.classifier.net import devices, saved
from knee.classifier.training import fit, inputs
from knee.classifier.training.checkpoints import Checkpoints

random = np.random.default_rng(0)
values = random.normal(size=(1, 45, 2, 2, 6)).astype(np.float16)
classes = (np.arange(45) % 3).astype(np.int64)
values[0, :, :, :, 0] += 2 * classes[:, None, None]
source = feature_source.Source(values, pixels=False)
images = random.integers(0, 256, (11, 8, 8), np.uint8)
devices.make_deterministic(1)  # before TensorFlow runs
rows = np.arange(45)
train, held_out = slice(0, 33), slice(33, 44)
data = feature_source.TrainingData(
    source,
    feature_source.Subset(rows[train], classes[train]),
    feature_source.Subset(rows[held_out], classes[held_out]),
    classes=3, class_weights=np.ones(3, np.float32),
)

def trained(chosen, folder):
    devices.make_deterministic(1)
    plan = fit.Optimisation(epochs=3, batch_size=8, learning_rate=0.01)
    with chosen.scope():
        pixels = keras.Input((2, 2, 6))
        hidden = layers.Dense(8, activation="relu")(layers.Flatten()(pixels))
        model = keras.Model(pixels, layers.Dense(3, activation="softmax")(hidden))
        fit.compile_model(model, plan)
    state = Checkpoints(folder / "checkpoints", "key")
    progress = fit.fit(model, data, plan, inputs.Augmentation(), state)
    held = inputs.padded_batches(source, rows[33:44], 8)
    predicted = model.predict(held, verbose=0)[:11]
    saved.save_model(model, folder / "model.keras")
    return {
        "loss": [row["loss"] for row in progress.history],
        "val_loss": [row["val_loss"] for row in progress.history],
        "predicted": np.asarray(predicted).tolist(),
    }

def embedded(chosen):
    with chosen.scope():
        inputs = keras.Input((8, 8, 1))
        kernel = keras.initializers.GlorotUniform(seed=3)
        model = keras.Model(inputs, keras.layers.Conv2D(4, 3, kernel_initializer=kernel)(inputs))
    forward = engines.TensorFlowForward(model, chosen, batch_size=2)
    out = np.empty((11, *forward.output_shape), np.float32)
    forward.fill(images, out)
    return out.tolist()

found = []
for count in (1, 2):
    chosen = devices.strategy(count, kind="CPU")
    folder = Path(sys.argv[1]) / str(count)
    folder.mkdir()
    found.append({
        "replicas": chosen.num_replicas_in_sync,
        "trained": trained(chosen, folder),
        "embedded": embedded(chosen),
    })
    keras.utils.clear_session()
from knee.classifier.net import assembly, design, heads
learner = assembly.build(design.BackboneDesign("xception", 71), heads.HeadDesign(), 3).whole
fit.compile_model(learner, fit.Optimisation(epochs=1, batch_size=16, learning_rate=0.001))
pixels = random.integers(0, 256, (16, 71, 71, 1)).astype(np.float32)
targets = np.eye(3, dtype=np.float32)[np.arange(16) % 3]
kept = learner.variables + learner.optimizer.variables
start = [variable.numpy() for variable in kept]
ends = set()
for _ in range(5):
    for variable, value in zip(kept, start, strict=True):
        variable.assign(value)
    learner.train_on_batch(pixels, targets)
    ends.add(b"".join(variable.numpy().tobytes() for variable in learner.trainable_variables))
print(json.dumps([*found, len(ends)]))
"""


@dataclass(frozen=True)
class Found:
    """What the program prints for one and for two devices, and the model that two have trained.

    Attributes:
        ends: how many states the same step of a whole Xception ends in, taken five times.
    """

    one: dict[str, Any]
    two: dict[str, Any]
    model_file: Path
    ends: int


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("devices")
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two, ends = json.loads(done.stdout.splitlines()[-1])
    return Found(one, two, folder / "2" / "model.keras", ends)


@pytest.mark.tf
def test_two_devices_train_and_predict_as_one(found: Found) -> None:
    from knee.classifier.net import saved

    assert [found.one["replicas"], found.two["replicas"]] == [1, 2]
    one, two = found.one["trained"], found.two["trained"]
    # Sums in another order: float32 differs in the last digits, which three epochs enlarge.
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
    assert two["val_loss"] == pytest.approx(one["val_loss"], rel=1e-4)
    # 11 rows in batches of 8: the partial batch loses none and counts none twice.
    assert len(two["predicted"]) == 11
    np.testing.assert_allclose(two["predicted"], one["predicted"], atol=1e-4)
    model = saved.load_model(found.model_file)
    random = np.random.default_rng(0)
    values = random.normal(size=(1, 45, 2, 2, 6)).astype(np.float16)
    values[0, :, :, :, 0] += 2 * (np.arange(45) % 3)[:, None, None]
    again = model.predict(values[0, 33:44].astype(np.float32), verbose=0)
    np.testing.assert_allclose(again, two["predicted"], atol=1e-6)


@pytest.mark.tf
def test_two_devices_embed_as_one(found: Found) -> None:
    assert [found.one["replicas"], found.two["replicas"]] == [1, 2]
    assert np.shape(found.two["embedded"])[0] == 11
    np.testing.assert_allclose(found.two["embedded"], found.one["embedded"], atol=1e-4)


@pytest.mark.tf
def test_more_devices_than_there_are_is_an_error() -> None:
    from knee.classifier.net import devices

    with pytest.raises(UserError, match=r"train\.devices: 99 asked for"):
        devices.strategy(99, kind="CPU")


@pytest.mark.tf
@pytest.mark.slow
def test_a_step_of_xception_trained_as_a_whole_ends_the_same_whenever_it_is_taken(
    found: Found,
) -> None:
    assert found.ends == 1
