"""One model, trained again and again: each training as if it were the first."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from knee.classifier.features.feature_source import Source, Subset
from knee.classifier.net.design import BackboneDesign
from knee.evidence.evaluation.fold_results import FoldResult
from tests.classifier.conftest import Films

if TYPE_CHECKING:
    from knee.classifier.training.learner import Learner

pytestmark = pytest.mark.tf
Make = Callable[..., "Learner"]


@pytest.fixture
def make(tiny: BackboneDesign, films: Films) -> Make:
    """A learner of the tiny backbone on the films."""
    from knee.classifier.net import heads
    from knee.classifier.training import fit, inputs, training
    from knee.classifier.training.learner import Learner

    def made(**options: Any) -> Learner:
        plan = training.Plan(
            backbone=dataclasses.replace(tiny, **options),
            head=heads.HeadDesign(projection_channels=8, attention=False),
            classes=3,
            optimisation=fit.Optimisation(3, 8, 0.01, schedule="cosine", weight_decay=0.01),
            augmentation=inputs.Augmentation(),
        )
        return Learner(plan, Source(films.pixels[np.newaxis], pixels=True))

    return made


def outcome(learner: Learner, films: Films, rows: int = 30, seed: int = 1) -> FoldResult:
    number = np.arange(48)
    return learner.train(
        Subset(number[:rows], films.classes[:rows]),
        Subset(number[30:36], films.classes[30:36]),
        number[36:],
        seed,
    )


def test_what_was_trained_before_changes_nothing_and_the_seed_does(
    make: Make, films: Films
) -> None:
    first = outcome(make(), films)
    used = make()
    other = outcome(used, films, rows=20, seed=2)
    again = outcome(used, films)
    np.testing.assert_array_equal(first.probabilities, again.probabilities)
    assert (first.best_epoch, first.epochs) == (again.best_epoch, again.epochs)
    assert not np.array_equal(first.probabilities, other.probabilities)
    assert first.probabilities.shape == (12, 3)


def test_a_training_on_other_rows_traces_nothing_anew(
    make: Make, films: Films, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = make()
    traced: list[int] = []
    step = type(learner._model).train_step

    def counted(model: Any, data: Any) -> Any:
        traced.append(1)
        return step(model, data)

    monkeypatch.setattr(type(learner._model), "train_step", counted)
    outcome(learner, films)
    before = len(traced)
    outcome(learner, films, rows=17)
    assert before
    assert len(traced) == before


def test_pretrained_weights_are_those_of_the_file_at_every_start(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from knee.classifier.net import backbones

    monkeypatch.setattr(backbones, "weights_source", lambda *_: None)
    learner = make(weights="imagenet", train_from="two")
    (upper,) = (layer for layer in learner._trained.layers if layer.name == "tiny_upper")
    head = learner._trained.get_layer("probabilities")
    from_file, from_seed = upper.get_weights(), head.get_weights()
    for layer in (upper, head):
        layer.set_weights([value + 1 for value in layer.get_weights()])
    learner._start_afresh(5)
    for one, two in zip(from_file, upper.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(from_seed[0], head.get_weights()[0])
