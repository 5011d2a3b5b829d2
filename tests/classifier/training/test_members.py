"""An ensemble: its members hold folds out, and its net is the mean of their log-probabilities."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from knee.classifier.features.feature_source import Source
from knee.classifier.net.design import BackboneDesign
from knee.evidence.uncertainty import calibration, prediction_limits
from knee.run.errors import UserError
from knee.splits import cross_validation
from tests.classifier.conftest import Films

if TYPE_CHECKING:
    from knee.classifier.training.members import Members

pytestmark = [pytest.mark.tf, pytest.mark.usefixtures("traced_once")]
TRAIN = {
    "epochs": 2,
    "batch_size": 8,
    "learning_rate": 0.01,
    "schedule": "cosine",
    "warmup_epochs": 0,
    "weight_decay": 0.0,
    "label_smoothing": 0.0,
    "soft_label_deviation": 0.0,
    "early_stopping_patience": 0,
    "keep_epoch": "last",
    "seed": 3,
    "probe_epochs": 0,
    "probe_learning_rate": 0.01,
    "class_weights": False,
    "mixed_precision": "none",
    "devices": 0,
    "adapt_batch_norms": False,
    "augmentation": {},
}
HEAD = {"design": "default", "projection_channels": 8, "attention": False}  # it is long to trace
FOLDS, SEEDS, ROWS = 2, 2, 24


def kept(films: Films) -> pd.DataFrame:
    number = np.arange(ROWS)
    return pd.DataFrame(
        {
            "record": number,
            "pixel_row": number,
            "class_index": films.classes[:ROWS],
            "group": number,
        }
    )


def trained(
    design: BackboneDesign, films: Films, folder: Path, **train: Any
) -> tuple[Members, Source]:
    """Members of two folds and seeds, on features or pixels as the design asks."""
    import keras

    from knee.classifier.net import assembly, heads
    from knee.classifier.training import members
    from knee.classifier.training.fold_training import Recipe

    source = Source(films.pixels[np.newaxis], pixels=True)
    if design.depth != "all":
        keras.utils.set_random_seed(TRAIN["seed"])  # the frozen part that every build gets
        parts = assembly.build(design, heads.HeadDesign(projection_channels=8), 3)
        made = np.asarray(parts.frozen(films.pixels[..., None].astype(np.float32)))
        source = Source(made[np.newaxis], pixels=False)
    table = kept(films)
    seeds = 1 if design.depth == "all" else SEEDS
    folds = cross_validation.plan_members(table, FOLDS, seeds, 1)
    recipe = Recipe("tiny", design, HEAD, {**TRAIN, **train}, "none", 1, 3)
    return members.train_members(recipe, source, table, folds, folder, "key"), source


@pytest.mark.parametrize("train_from", ["head", "two", "all"])
def test_the_net_answers_the_mean_of_its_folds_and_each_predicted_what_it_held_out(
    tiny: BackboneDesign, films: Films, tmp_path: Path, train_from: str
) -> None:
    from knee.classifier.net import saved

    made, _ = trained(dataclasses.replace(tiny, train_from=train_from), films, tmp_path)
    saved.apply_temperature(made.net, 2.0)
    sha256 = saved.save_model(made.net, tmp_path / "model.keras")
    loaded = saved.load_model(tmp_path / "model.keras", sha256)
    rows = saved.predict(saved.with_features(loaded), films.pixels)
    found = prediction_limits.split_outputs(rows, 3, FOLDS)
    assert found.folds is not None
    powers = np.exp(np.log(found.folds.astype(np.float64)).mean(axis=1))
    expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    assert found.folds.std(axis=1).max() > 1e-4  # members differ
    own = found.folds[np.arange(ROWS), made.fold]
    np.testing.assert_allclose(calibration.scaled(made.out_of_fold, 2.0), own, atol=1e-5)
    assert np.bincount(made.fold).tolist() == [12, 12]


def test_a_killed_run_trains_only_the_missing_members_to_the_same_bytes(
    tiny: BackboneDesign, films: Films, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from knee.classifier.training.learner import Learner

    design = dataclasses.replace(tiny, train_from="head")
    whole, _ = trained(design, films, tmp_path / "whole")
    weights, out_of_fold = whole.net.get_weights(), whole.out_of_fold.copy()
    fit, begun = Learner.fit, []

    def killed(*arguments: Any) -> Any:
        begun.append(1)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return fit(*arguments)

    monkeypatch.setattr(Learner, "fit", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(design, films, tmp_path / "killed")
    again, _ = trained(design, films, tmp_path / "killed")
    assert len(begun) == 1 + FOLDS * SEEDS
    np.testing.assert_array_equal(again.out_of_fold, out_of_fold)
    for one, other in zip(again.net.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_members_end_at_the_common_epoch_of_the_lowest_held_out_loss(
    tiny: BackboneDesign, films: Films, tmp_path: Path
) -> None:
    design = dataclasses.replace(tiny, train_from="head")
    options = {"keep_epoch": "best", "epochs": 4, "learning_rate": 0.1, "schedule": "constant"}
    made, _ = trained(design, films, tmp_path, **options)
    assert made.epoch == made.history["val_loss"].argmin()
    truth = films.classes[:ROWS]
    own = made.out_of_fold[np.arange(ROWS), truth]
    loss = -np.log(np.clip(own, 1e-7, 1)).mean()
    assert loss <= made.history["val_loss"].min() + 1e-4  # of two seeds together


def test_whole_nets_that_would_keep_every_epoch_are_refused(
    tiny: BackboneDesign, films: Films, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"train\.keep_epoch"):
        trained(dataclasses.replace(tiny, train_from="all"), films, tmp_path, keep_epoch="best")
