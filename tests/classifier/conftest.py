"""A tiny backbone without weights, data that it can learn, and tidy Keras globals."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

if TYPE_CHECKING:
    from knee.classifier.net.design import BackboneDesign

SIDE = 16


def tiny_net(input_shape: tuple[int, ...], include_top: bool, weights: str | None) -> Any:
    """Two convolutions with a batch norm between them."""
    import keras
    from keras import layers

    assert not include_top
    assert weights is None
    pixels = keras.Input(input_shape)
    hidden = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="one")(pixels)
    hidden = layers.BatchNormalization(name="norm")(hidden)
    hidden = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="two")(hidden)
    return keras.Model(pixels, hidden)


def put_in_table(patch: pytest.MonkeyPatch) -> None:
    """The tiny backbone is in the table until `patch` is undone."""
    from knee.classifier.net import backbones

    row = backbones.Backbone(tiny_net, 1 / 127.5, -1.0, published_squeeze=False)
    patch.setitem(backbones.BACKBONES, "tiny", row)


def trace_once(patch: pytest.MonkeyPatch) -> None:
    """Of plans that need the same net, the later ones train the first's, with their own weights.

    To trace a training step takes seconds, to build a net half of one. The weights, the optimizer's
    state and the seeds are those of a net that was built for the plan: a training finds nothing of
    another one. The number of rows must be the same, which is traced too.
    """
    from knee.classifier.net import devices
    from knee.classifier.training import fit, training

    build = training.build
    traced: dict[training.Plan, tuple[Any, Any]] = {}
    fresh: dict[tuple[training.Plan, int, float], list[Any]] = {}

    def rebuilt(plan: training.Plan) -> tuple[Any, Any]:
        used = plan.optimisation
        net = dataclasses.replace(
            plan,
            optimisation=fit.Optimisation(
                1,
                used.batch_size,
                1,
                weight_decay=used.weight_decay,
                label_smoothing=used.label_smoothing,
            ),
            probe=None,
        )
        start = (net, used.seed, used.learning_rate)
        if start not in fresh:
            built = build(plan)
            fresh[start] = [variable.numpy() for variable in variables(*built)]
            traced.setdefault(net, built)
        devices.make_deterministic(used.seed)
        for variable, value in zip(variables(*traced[net]), fresh[start], strict=True):
            variable.assign(value)
        return traced[net]

    def variables(parts: Any, learner: Any) -> list[Any]:
        return [*parts.whole.variables, *learner.optimizer.variables]

    patch.setattr(training, "build", rebuilt)


@pytest.fixture(scope="module")
def traced_once() -> Iterator[None]:
    """The module's tests train few nets again and again."""
    with pytest.MonkeyPatch.context() as patch:
        trace_once(patch)
        yield


@pytest.fixture(autouse=True)
def tidy_keras() -> Iterator[None]:
    """No test leaves a precision policy or names behind."""
    import keras

    yield
    keras.mixed_precision.set_global_policy("float32")
    keras.backend.clear_session(free_memory=False)  # collecting garbage takes half a second


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> BackboneDesign:
    """The design of the tiny backbone, which is in the table while a test runs."""
    from knee.classifier.net.design import BackboneDesign

    put_in_table(monkeypatch)
    return BackboneDesign("tiny", SIDE)


@dataclass(frozen=True)
class Films:
    """Images whose brightness tells the class."""

    pixels: npt.NDArray[np.uint8]
    classes: npt.NDArray[np.int64]


@pytest.fixture(scope="session")
def films() -> Films:
    """48 images in three classes; nobody changes them."""
    random = np.random.default_rng(0)
    classes = np.arange(48, dtype=np.int64) % 3
    noise = random.integers(0, 40, (48, SIDE, SIDE))
    pixels = (noise + 80 * classes[:, None, None]).astype(np.uint8)
    pixels[:, :, : SIDE // 4] = 0  # a mirror image differs
    pixels.flags.writeable = classes.flags.writeable = False
    return Films(pixels, classes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where checkpoints go."""
    return tmp_path / "checkpoints"
