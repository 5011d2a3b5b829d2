"""One training by two processes: as by one, whoever is killed, and with an end in any case."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from knee.classifier.net.design import BackboneDesign
from knee.execution.place import ExecutionError
from knee.execution.worker_group import WorkerGroup
from knee.run.errors import UserError
from tests import shards
from tests.classifier.conftest import SIDE, Films, put_in_table
from tests.execution.test_worker_group import gone, settings

pytestmark = [pytest.mark.tf, pytest.mark.slow]
EPOCHS = 3


@pytest.fixture(autouse=True)
def tiny_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that know the tiny backbone."""
    from knee.classifier.training import synchronous_training

    monkeypatch.setattr(synchronous_training, "WORKER", "tests.classifier.training.tiny_worker")


def train(
    design: BackboneDesign,
    films: Films,
    folder: Path,
    workers: int = 2,
    batch_size: int = 8,
    retries: int = 0,
) -> tuple[list[Any], Any]:
    """Weights and progress of a short training, of a head or of a whole net with batch norms."""
    from knee.classifier.features.feature_source import Source, Subset
    from knee.classifier.net import heads
    from knee.classifier.training import fit, inputs, synchronous_training, training
    from knee.classifier.training.checkpoints import Checkpoints
    from knee.storage.row_files import RowFile

    is_head = design.depth == "head"
    random = np.random.default_rng(0)
    features = random.normal(size=(48, 1, 4, 4, 8)).astype(np.float16)
    features[:, 0, 0] += films.classes[:, None, None]
    file = folder.with_suffix(".rows")
    shards.save(file, features if is_head else films.pixels)
    noise = 0.0 if is_head else 0.1  # of two workers it is another than of one
    plan = training.Plan(
        backbone=design,
        head=heads.HeadDesign(
            projection_channels=8, attention_heads=2, dropout=noise, gaussian_noise=noise
        ),
        classes=3,
        optimisation=fit.Optimisation(
            epochs=EPOCHS,
            batch_size=batch_size,
            learning_rate=0.01,
            schedule="cosine",
            weight_decay=0.0001,
            label_smoothing=0.1,
        ),
        augmentation=inputs.Augmentation(mixup=0.2),
        balance_classes=True,
        devices=1,
    )
    group = WorkerGroup(settings(retries=retries), workers)
    model, progress = training.train(
        plan,
        Source(RowFile(file, has_views=is_head), pixels=not is_head),
        Subset(np.arange(36), films.classes[:36]),
        Subset(np.arange(36, 48), films.classes[36:]),
        Checkpoints(folder, "key"),
        None,
        functools.partial(synchronous_training.train, group) if workers > 1 else None,
    )
    return model.get_weights(), progress


HEAD = BackboneDesign("tiny", SIDE, train_from="head")
WHOLE = BackboneDesign("tiny", SIDE)


def test_losses_of_two_workers_are_those_of_one_process(
    films: Films, tmp_path: Path, tiny: BackboneDesign
) -> None:
    del tiny
    weights, alone = train(HEAD, films, tmp_path / "alone", workers=1)
    others, together = train(HEAD, films, tmp_path / "together")
    assert together.epochs_done == EPOCHS
    assert together.best_epoch == alone.best_epoch
    for one, other in zip(alone.history, together.history, strict=True):
        assert other == pytest.approx(one, abs=1e-4)
    for value, other in zip(weights, others, strict=True):
        np.testing.assert_allclose(other, value, atol=1e-3)


@dataclasses.dataclass(frozen=True)
class Uninterrupted:
    """The weights and the progress of a training by two workers, from which nothing was taken."""

    weights: list[Any]
    progress: Any


@pytest.fixture(scope="module")
def whole(
    request: pytest.FixtureRequest, films: Films, tmp_path_factory: pytest.TempPathFactory
) -> Uninterrupted:
    if "cluster" not in request.config.getoption("markexpr"):
        pytest.skip("starts workers four times: make cluster-test")
    from knee.classifier.training import synchronous_training

    with pytest.MonkeyPatch.context() as patch:
        put_in_table(patch)
        patch.setattr(synchronous_training, "WORKER", "tests.classifier.training.tiny_worker")
        return Uninterrupted(*train(WHOLE, films, tmp_path_factory.mktemp("whole") / "state"))


@pytest.mark.cluster
def test_whoever_is_killed_the_training_goes_on_after_its_last_epoch(
    whole: Uninterrupted,
    films: Films,
    tmp_path: Path,
    tiny: BackboneDesign,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A worker: all begin again. Then the first, which saves: the same command goes on."""
    caplog.set_level("INFO")
    kills, state = tmp_path / "kills", tmp_path / "state"
    kills.write_text("1 1\n0 2\n", encoding="utf-8")
    monkeypatch.setenv("KNEE_TEST_KILL", str(kills))
    with pytest.raises(ExecutionError, match="the same command goes on after epoch 2"):
        train(tiny, films, state, retries=1)
    assert gone(state)
    assert "worker 2 (127.0.0.1): SIGKILL" in caplog.text
    assert "all workers begin again after epoch 1" in caplog.text
    weights, progress = train(tiny, films, state, retries=0)
    assert f"resuming after epoch 2 of {EPOCHS}" in caplog.text
    assert kills.read_text(encoding="utf-8") == ""
    assert progress == whole.progress
    for one, two in zip(whole.weights, weights, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_batch_of_more_rows_than_there_are_is_an_error_before_any_worker_starts(
    films: Films, tmp_path: Path, tiny: BackboneDesign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WorkerGroup, "run", None)
    with pytest.raises(UserError, match=r"train\.workers: 36 training rows are fewer than a batch"):
        train(tiny, films, tmp_path / "state", batch_size=64)
