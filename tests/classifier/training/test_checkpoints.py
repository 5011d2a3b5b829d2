"""A damaged state of a training is set aside in one line, a whole one is taken."""

from __future__ import annotations

import errno
import os
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from knee.classifier.training import checkpoints
from knee.classifier.training.checkpoints import Checkpoints, EveryEpoch, Progress
from knee.storage import artifacts


class Variable:
    """As much of a variable of Keras as a checkpoint needs."""

    def __init__(self, value: float) -> None:
        self.value = np.full(100, value, np.float32)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.value

    def assign(self, value: Any) -> None:
        self.value = value


def model(value: float) -> Any:
    optimizer = types.SimpleNamespace(variables=[Variable(-value)])
    return types.SimpleNamespace(variables=[Variable(value)], optimizer=optimizer)


def progress(epochs: int, best: int) -> Progress:
    return Progress(epochs, best, 0.5 / (best + 1), [{"epoch": e} for e in range(epochs)])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "half": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "flipped bit": flip,
    "gone": Path.unlink,
}


@pytest.fixture
def state(tmp_path: Path) -> Checkpoints:
    """One of three epochs, of which the second is the best."""
    saved = Checkpoints(tmp_path / "state", "key")
    for epochs, best in ((1, 0), (2, 1), (3, 1)):
        saved.save(model(epochs), progress(epochs, best))
    return saved


def test_a_whole_state_comes_back(state: Checkpoints) -> None:
    resumed = model(0)
    assert state.restore(resumed) == progress(3, 1)
    assert resumed.variables[0].value[0] == 3
    assert resumed.optimizer.variables[0].value[0] == -3
    state.restore_best(resumed)
    assert resumed.variables[0].value[0] == 2


@pytest.mark.parametrize("name", [checkpoints.LAST, checkpoints.BEST, checkpoints.PROGRESS])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_state_is_set_aside_in_one_line_and_touches_no_variable(
    name: str,
    damage: Callable[[Path], object],
    state: Checkpoints,
    caplog: pytest.LogCaptureFixture,
) -> None:
    damage(state.folder / "training-key" / name)
    fresh = model(7)
    assert state.restore(fresh) == Progress()
    assert fresh.variables[0].value[0] == 7
    (record,) = caplog.records
    assert "training-key is damaged" in record.getMessage()
    assert "\n" not in record.getMessage()
    assert not state.find()
    state.save(fresh, progress(1, 0))
    assert [path.name for path in state.folder.iterdir()] == ["training-key"]


def test_the_last_whole_state_is_taken(state: Checkpoints) -> None:
    current = state.folder / "training-key"
    current.replace(previous := state.folder / "training-key.previous")
    current.mkdir()  # as a power cut may leave it
    assert state.find()
    assert not previous.exists()
    assert state.restore(model(0)) == progress(3, 1)


def test_a_state_of_an_earlier_version_is_taken(state: Checkpoints) -> None:
    file = state.folder / "training-key" / checkpoints.PROGRESS
    values = artifacts.read_json(file)
    del values["record_sha256"]
    artifacts.write_json(file, values)
    assert state.restore(model(0)) == progress(3, 1)


def test_a_file_system_without_links_keeps_states_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "link", refuse)
    saved, found = Checkpoints(tmp_path, "key"), model(0)
    for epochs, best in ((1, 0), (2, 0)):
        saved.save(model(epochs), progress(epochs, best))
    assert saved.restore(found).epochs_done == 2
    saved.restore_best(found)
    assert found.variables[0].value[0] == 1


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_weights_of_a_member_are_one_message_with_a_remedy(
    tmp_path: Path, damage: str
) -> None:
    saved = EveryEpoch(tmp_path, last_only=True)
    arrays = [np.ones(100, np.float32)]
    saved.save(types.SimpleNamespace(get_weights=lambda: arrays), progress(1, 0))
    np.testing.assert_array_equal(saved.weights(0), arrays)
    DAMAGES[damage](saved.path(0))
    with pytest.raises(artifacts.ArtifactError, match="remove its folder"):
        saved.weights(0)
