"""The linear probe: the head learns first, the backbone stays, and a kill changes nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from knee.classifier.net.design import BackboneDesign
from tests.classifier.conftest import Films

pytestmark = [pytest.mark.tf, pytest.mark.usefixtures("traced_once")]


@pytest.fixture
def pretrained(tiny: BackboneDesign, monkeypatch: pytest.MonkeyPatch) -> BackboneDesign:
    """The tiny backbone, fine-tuned from its second convolution as if it had weights."""
    from knee.classifier.net import backbones

    monkeypatch.setattr(backbones, "weights_source", lambda *_: None)
    return dataclasses.replace(tiny, weights="imagenet", train_from="two")


def plan(design: BackboneDesign, epochs: int = 3, learning_rate: float = 0.001) -> Any:
    from knee.classifier.net import heads
    from knee.classifier.training import fit, inputs, training

    optimisation = fit.Optimisation(epochs, 8, learning_rate)
    return training.Plan(
        backbone=design,
        head=heads.HeadDesign(projection_channels=8, attention=False),
        classes=3,
        optimisation=optimisation,
        augmentation=inputs.Augmentation(horizontal_flip=True),
        probe=dataclasses.replace(optimisation, epochs=5, learning_rate=0.02),
    )


def train(chosen: Any, films: Films, folder: Path, on_epoch: Any = None) -> tuple[Any, Any]:
    """A training on what the frozen part of `chosen` gives, mirror images included."""
    from knee.classifier.features import feature_source
    from knee.classifier.net import devices, fine_tuning
    from knee.classifier.training import training
    from knee.classifier.training.checkpoints import Checkpoints

    views = np.stack([films.pixels, films.pixels[:, :, ::-1]])[..., None].astype(np.float32)
    devices.make_deterministic(1)  # the frozen layers' random weights, too, whatever ran before
    frozen, _ = fine_tuning.split_backbone(chosen.backbone)
    if chosen.backbone.depth == "all":
        source = feature_source.Source(films.pixels[None], pixels=True)
    else:
        values = np.stack([np.asarray(frozen(view)) for view in views]).astype(np.float16)
        kinds = (feature_source.IMAGE, feature_source.MIRROR)
        source = feature_source.Source(values, pixels=False, kinds=kinds)
    rows = np.arange(48)
    return training.train(
        chosen,
        source,
        feature_source.Subset(rows[:36], films.classes[:36]),
        feature_source.Subset(rows[36:], films.classes[36:]),
        Checkpoints(folder, "key"),
        on_epoch,
    )


def kernels(model: Any) -> list[Any]:
    """The backbone's trained layers of a whole classifier."""
    return list(model.layers[-1].get_layer("tiny_upper").get_weights())


@pytest.mark.parametrize("train_from", ["two", "all"])
def test_fine_tuning_starts_lower_with_a_probe_than_without(
    pretrained: BackboneDesign, films: Films, tmp_path: Path, train_from: str
) -> None:
    chosen = plan(dataclasses.replace(pretrained, train_from=train_from), epochs=1)
    _, probed = train(chosen, films, tmp_path / "probed")
    _, plain = train(dataclasses.replace(chosen, probe=None), films, tmp_path / "plain")
    assert probed.history[0]["val_loss"] < plain.history[0]["val_loss"] - 0.1
    assert not list((tmp_path / "probed").rglob("probe-features"))


def test_the_probe_leaves_the_backbone_as_it_is(
    pretrained: BackboneDesign, films: Films, tmp_path: Path
) -> None:
    from knee.classifier.net import assembly, devices

    chosen = plan(pretrained, epochs=1, learning_rate=1e-30)
    model, _ = train(chosen, films, tmp_path)
    devices.make_deterministic(chosen.optimisation.seed)
    untouched = assembly.build(chosen.backbone, chosen.head, 3).whole
    for one, two in zip(kernels(model), kernels(untouched), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("adapt", [False, True])
def test_batch_norms_of_pretrained_layers_learn_only_when_asked(
    pretrained: BackboneDesign, films: Films, tmp_path: Path, adapt: bool
) -> None:
    from knee.classifier.net import backbones

    chosen = plan(dataclasses.replace(pretrained, train_from="all"), epochs=1)
    model, _ = train(dataclasses.replace(chosen, adapt_norms=adapt), films, tmp_path)
    found = model.layers[-1].get_layer("tiny_upper").get_layer("tiny").get_layer("norm")
    fresh = backbones.build("tiny", films.pixels.shape[1], "imagenet").get_layer("norm")
    for now, before in zip(found.get_weights(), fresh.get_weights(), strict=True):
        assert np.array_equal(now, before) != adapt


def test_a_kill_while_fine_tuning_does_not_probe_again_and_changes_nothing(
    pretrained: BackboneDesign, films: Films, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One training, killed after its first epoch and again after its second."""
    from knee.classifier.training import probe

    _, expected = train(plan(pretrained), films, tmp_path / "whole")

    def kill(done: int, row: dict[str, float]) -> None:
        del done, row
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(plan(pretrained), films, tmp_path / "killed", kill)
    monkeypatch.setattr(probe, "train_head", None)
    with pytest.raises(KeyboardInterrupt):
        train(plan(pretrained), films, tmp_path / "killed", kill)
    _, resumed = train(plan(pretrained), films, tmp_path / "killed")
    assert resumed.history == expected.history


def test_nothing_is_probed_where_no_pretrained_layer_is_trained(
    pretrained: BackboneDesign, tiny: BackboneDesign
) -> None:
    assert plan(pretrained).probes
    assert not plan(dataclasses.replace(pretrained, train_from="head")).probes
    assert not plan(tiny).probes
    assert not dataclasses.replace(plan(pretrained), probe=None).probes
