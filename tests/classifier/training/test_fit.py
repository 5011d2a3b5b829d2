"""Training: deterministic, resumable, and led by validation alone."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from knee.classifier.net.design import BackboneDesign
from knee.run.errors import UserError
from tests.classifier.conftest import SIDE, Films, put_in_table

pytestmark = [pytest.mark.tf, pytest.mark.usefixtures("traced_once")]


class KilledError(RuntimeError):
    """What a test raises in the middle of a training."""


def train(
    tiny: BackboneDesign, films: Films, folder: Path, on_epoch: Any = None, **options: Any
) -> tuple[Any, Any]:
    """The whole model and the progress of a short training; the next one uses the same model."""
    from knee.classifier.features import feature_source
    from knee.classifier.net import heads
    from knee.classifier.training import fit, inputs, training
    from knee.classifier.training.checkpoints import Checkpoints

    settings = {"epochs": 4, "batch_size": 8, "learning_rate": 0.01, "schedule": "cosine"}
    plan = training.Plan(
        backbone=tiny,
        head=heads.HeadDesign(projection_channels=8, attention_heads=2),
        classes=3,
        optimisation=fit.Optimisation(**{**settings, **options}),
        augmentation=inputs.Augmentation(horizontal_flip=True, rotation_degrees=5),
    )
    source = feature_source.Source(films.pixels[np.newaxis], pixels=True)
    rows = np.arange(48)
    return training.train(
        plan,
        source,
        feature_source.Subset(rows[:36], films.classes[:36]),
        feature_source.Subset(rows[36:], films.classes[36:]),
        Checkpoints(folder, "key"),
        on_epoch,
    )


@dataclasses.dataclass(frozen=True)
class Uninterrupted:
    """A training that has run to its end: its model, which the next one trains, and its results."""

    model: Any
    weights: list[Any]
    progress: Any
    folder: Path


STOPPING = {
    "epochs": 30,
    "learning_rate": 0.3,
    "early_stopping_patience": 2,
    "schedule": "constant",
}


def uninterrupted(films: Films, folder: Path, **options: Any) -> Uninterrupted:
    with pytest.MonkeyPatch.context() as patch:
        put_in_table(patch)
        model, progress = train(BackboneDesign("tiny", SIDE), films, folder, **options)
    return Uninterrupted(model, model.get_weights(), progress, folder)


@pytest.fixture(scope="module")
def whole(
    traced_once: None, films: Films, tmp_path_factory: pytest.TempPathFactory
) -> Uninterrupted:
    """With the settings of `train`."""
    del traced_once
    return uninterrupted(films, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def stopped(
    traced_once: None, films: Films, tmp_path_factory: pytest.TempPathFactory
) -> Uninterrupted:
    """That stops early."""
    del traced_once
    return uninterrupted(films, tmp_path_factory.mktemp("stopped"), **STOPPING)


def test_same_seed_gives_the_same_history_bit_for_bit(
    whole: Uninterrupted, tiny: BackboneDesign, films: Films, tmp_path: Path
) -> None:
    assert train(tiny, films, tmp_path / "again")[1].history == whole.progress.history
    assert train(tiny, films, tmp_path / "other", seed=7)[1].history != whole.progress.history


def test_a_training_step_is_traced_once(
    tiny: BackboneDesign, films: Films, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To trace a large net takes many seconds of one core."""
    import keras

    step = keras.Model.train_step
    seen: list[Any] = []

    def counted(self: Any, data: Any) -> Any:
        seen.append(data)
        return step(self, data)

    monkeypatch.setattr(keras.Model, "train_step", counted)
    train(tiny, films, tmp_path / "traced", label_smoothing=0.123)  # no other test's net
    assert len(seen) == 1


def test_a_killed_training_ends_as_an_uninterrupted_one(
    whole: Uninterrupted, tiny: BackboneDesign, films: Films, tmp_path: Path
) -> None:
    def kill(epoch: int, row: dict[str, float]) -> None:
        del row
        if epoch == 1:
            raise KilledError

    with pytest.raises(KilledError):
        train(tiny, films, tmp_path / "killed", kill)
    seen: list[int] = []
    resumed, progress = train(tiny, films, tmp_path / "killed", lambda epoch, _: seen.append(epoch))
    assert seen == [2, 3]
    assert progress.history == whole.progress.history
    for one, two in zip(whole.weights, resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_early_stopping_goes_on_counting_where_the_kill_came(
    stopped: Uninterrupted, tiny: BackboneDesign, films: Films, tmp_path: Path
) -> None:
    """While it waits for a better loss, and when it is done; while the loss falls, see above."""
    expected = stopped.progress
    assert expected.epochs_done == expected.best_epoch + 3 < 30
    for last in (expected.epochs_done - 2, expected.epochs_done - 1):

        def kill(epoch: int, row: dict[str, float], last: int = last) -> None:
            del row
            if epoch == last:
                raise KilledError

        with pytest.raises(KilledError):
            train(tiny, films, tmp_path / str(last), kill, **STOPPING)
        resumed, progress = train(tiny, films, tmp_path / str(last), **STOPPING)
        assert progress == expected
        for one, two in zip(stopped.weights, resumed.get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("renames", [0, 1])
def test_a_kill_while_a_checkpoint_is_replaced_costs_an_epoch_at_most(
    renames: int,
    whole: Uninterrupted,
    tiny: BackboneDesign,
    films: Films,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from knee.classifier.training.checkpoints import Checkpoints

    replace = Checkpoints._replace

    def killed(self: Checkpoints, staged: Path) -> None:
        if (tmp_path / "twice").exists():
            if renames:
                self._current.replace(self._previous)
            raise KilledError
        (tmp_path / "twice").touch()
        replace(self, staged)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "_replace", killed)
        with pytest.raises(KilledError):
            train(tiny, films, tmp_path / "killed")
    seen: list[int] = []
    progress = train(tiny, films, tmp_path / "killed", lambda epoch, _: seen.append(epoch))[1]
    assert seen == [1, 2, 3]
    assert progress == whole.progress


def test_another_key_starts_afresh(whole: Uninterrupted) -> None:
    from knee.classifier.training.checkpoints import Checkpoints

    assert Checkpoints(whole.folder, "key").find()
    assert Checkpoints(whole.folder, "other").restore(whole.model.layers[-1]).epochs_done == 0


def test_the_model_is_left_with_the_weights_of_the_best_epoch(
    tiny: BackboneDesign, films: Films, folder: Path
) -> None:
    from knee.classifier.net import saved
    from knee.classifier.training import fit

    model, progress = train(tiny, films, folder, epochs=5, learning_rate=0.05)
    best = min(row["val_loss"] for row in progress.history)
    assert progress.history[progress.best_epoch]["val_loss"] == best
    probabilities = saved.predict(model, films.pixels[36:])
    loss = fit.cross_entropy(films.classes[36:], probabilities)
    assert loss == pytest.approx(best, abs=1e-5)


def test_the_last_epoch_is_kept_where_that_is_asked_for(
    tiny: BackboneDesign, films: Films, folder: Path
) -> None:
    from knee.classifier.net import saved
    from knee.classifier.training import fit

    model, progress = train(tiny, films, folder, epochs=5, learning_rate=0.3, keep_epoch="last")
    assert progress.best_epoch == 4
    assert progress.best_loss == progress.history[-1]["val_loss"]
    loss = fit.cross_entropy(films.classes[36:], saved.predict(model, films.pixels[36:]))
    assert loss == pytest.approx(progress.best_loss, abs=1e-4)


def test_a_trained_models_file_needs_nothing_of_this_project(
    tiny: BackboneDesign, films: Films, folder: Path
) -> None:
    from knee.classifier.net import saved

    model, _ = train(tiny, films, folder, epochs=1)
    saved.save_model(model, folder.parent / "model.keras")
    with zipfile.ZipFile(folder.parent / "model.keras") as archive:
        config = archive.read("config.json").decode()
    assert "keras" in config
    assert "stages." not in config
    assert "optimizer" not in config
    assert saved.load_model(folder.parent / "model.keras").count_params() == model.count_params()


def test_training_stops_when_validation_has_not_improved_for_the_patience(
    stopped: Uninterrupted,
) -> None:
    progress = stopped.progress
    assert len(progress.history) < 30
    assert len(progress.history) - 1 - progress.best_epoch == 2


def test_a_training_that_diverges_ends_with_what_to_lower_and_keeps_no_state_of_it(
    tiny: BackboneDesign, films: Films, folder: Path
) -> None:
    from knee.classifier.training.checkpoints import Checkpoints

    with pytest.raises(UserError, match=r"diverged at epoch 1:.* lower train\.learning_rate"):
        train(tiny, films, folder, learning_rate=1e38, schedule="constant")
    assert not Checkpoints(folder, "key").find()


def test_the_task_is_learned(tiny: BackboneDesign, films: Films, folder: Path) -> None:
    _, progress = train(tiny, films, folder, epochs=12)
    assert max(row["val_accuracy"] for row in progress.history) > 0.8


def test_cosine_falls_from_the_peak_to_nearly_zero_after_the_warm_up() -> None:
    from knee.classifier.training import fit

    plan = fit.Optimisation(10, 8, 1.0, schedule="cosine", warmup_epochs=2)
    rates = [plan.rate(epoch) for epoch in range(10)]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert 0 < rates[-1] < 0.1
