"""Backbone and head: the frozen layers, the trained ones, and the whole model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy.typing as npt
from keras import layers

from knee.classifier.net import backbones, heads
from knee.classifier.net.design import BackboneDesign, DesignError
from knee.classifier.net.fine_tuning import split_backbone

Weights = Sequence[npt.NDArray[Any]]  # of one member's trained part, in the order of its layers
FEATURE_MAP = "feature_map"  # layer whose output the head reads, and Grad-CAM explains


@dataclass(frozen=True)
class Parts:
    """A classifier in two parts that share their variables with `whole`.

    Attributes:
        frozen: raw pixels (batch, side, side, 1), 0-255 -> input of `trained`.
        trained: output of `frozen` -> probabilities (batch, classes).
        whole: raw pixels -> probabilities; what is saved.
    """

    frozen: keras.Model
    trained: keras.Model
    whole: keras.Model


def build(
    design: BackboneDesign, head: heads.HeadDesign, classes: int, *, adapt_norms: bool = False
) -> Parts:
    """The classifier of `classes` classes; call it inside the strategy's scope.

    `adapt_norms`: see `fine_tuning.split_backbone`.
    """
    frozen, upper = split_backbone(design, adapt_norms=adapt_norms)
    features = keras.Input(frozen.output.shape[1:], name="features")
    hidden = features if upper is None else upper(features)
    hidden = layers.Activation("linear", name=FEATURE_MAP)(hidden)
    if head.published and not backbones.find(design.name).published_squeeze:
        head = dataclasses.replace(head, squeeze_excitation=False)
    trained = keras.Model(features, heads.attach(hidden, classes, head), name="trained")
    pixels = keras.Input(frozen.input.shape[1:], name="pixels")
    whole = keras.Model(pixels, trained(frozen(pixels)), name=design.name)
    return Parts(frozen, trained, whole)


def ensemble(parts: Parts, folds: Sequence[Sequence[Weights]]) -> keras.Model:
    """Return one classifier that answers the mean of its members' log-probabilities.

    The members share the frozen layers of `parts`; `folds` has the weights of the trained part of
    each member, by fold and seed. A softmax of averaged logits is that mean: a member's own
    normalisation is one number for all classes. What a fold's members say together can be read off
    as `fold_logits`. Where members have backbone layers of their own, their feature maps lie behind
    each other in one.
    """
    features = keras.Input(parts.trained.input.shape[1:], name="features")
    members = [
        _member(parts.trained, f"fold{fold}_seed{seed}", weights)
        for fold, of_fold in enumerate(folds)
        for seed, weights in enumerate(of_fold)
    ]
    if members[0].upper.trainable_weights:
        maps = [member.upper(features) for member in members]
        joined = layers.Concatenate(name=FEATURE_MAP)(maps)
        width = joined.shape[-1] // len(members)
        inputs = [joined[..., n * width : (n + 1) * width] for n in range(len(members))]
    else:
        shared = layers.Activation("linear", name=FEATURE_MAP)(features)
        inputs = [shared] * len(members)
    logits = [member.head(values) for member, values in zip(members, inputs, strict=True)]
    averaged, start = [], 0
    for number, of_fold in enumerate(folds):
        own = logits[start : start + len(of_fold)]
        averaged.append(_mean(own, heads.fold_logits(number)))
        start += len(of_fold)
    probabilities = layers.Softmax(dtype="float32", name=heads.PROBABILITIES)(
        _mean(averaged, "logits")
    )
    trained = keras.Model(features, probabilities, name="trained")
    pixels = keras.Input(parts.frozen.input.shape[1:], name="pixels")
    return keras.Model(pixels, trained(parts.frozen(pixels)), name=parts.whole.name)


@dataclass(frozen=True)
class _Member:
    upper: keras.Model  # without weights where the backbone is frozen
    head: keras.Model  # feature map -> logits


def _member(trained: keras.Model, name: str, weights: Weights) -> _Member:
    """A copy of `trained` with `weights`, without its softmax."""
    own = keras.models.clone_model(trained)
    own.set_weights(weights)
    feature_map = own.get_layer(FEATURE_MAP).output
    last = own.get_layer(heads.PROBABILITIES)
    linear = layers.Dense(last.units, dtype="float32", name=f"{heads.LOGITS}{name}")
    head = keras.Model(feature_map, linear(last.input), name=name)
    linear.set_weights(last.get_weights())
    return _Member(keras.Model(own.input, feature_map, name=f"{name}_upper"), head)


def joined(name: str, ensembles: Sequence[keras.Model]) -> keras.Model:
    """Return one classifier, `name`, of the members of several `ensembles` of the same folds.

    Each has a backbone of its own, by which it is called, and takes the same pixels. The answer is
    the mean of the log-probabilities, as within one ensemble; the feature maps lie behind each
    other in one. The layers of `ensembles` are used, not copied.

    Raises:
        DesignError: the feature maps have different heights or widths.
    """
    parts = [_three_parts(model) for model in ensembles]
    pixels = keras.Input(ensembles[0].input.shape[1:], name="pixels")
    frozen = keras.Model(pixels, [below(pixels) for below, _, _ in parts], name="frozen")
    features = [keras.Input(tensor.shape[1:]) for tensor in frozen.outputs]
    maps = [upper(own) for (_, upper, _), own in zip(parts, features, strict=True)]
    if len({tuple(values.shape[1:3]) for values in maps}) > 1:
        raise DesignError(
            "ingest.image_size_pixels: the backbones' feature maps have different sizes "
            f"({', '.join(f'{v.shape[1]} x {v.shape[2]}' for v in maps)}): give a multiple of 32"
        )
    together = layers.Concatenate(name=FEATURE_MAP)(maps)
    of_folds, start = [], 0
    for (_, _, head), own in zip(parts, maps, strict=True):
        width = own.shape[-1]
        made = head(together[..., start : start + width])
        of_folds.append(made if isinstance(made, list) else [made])
        start += width
    folds = [
        _mean(own, heads.fold_logits(number))
        for number, own in enumerate(zip(*of_folds, strict=True))
    ]
    probabilities = layers.Softmax(dtype="float32", name=heads.PROBABILITIES)(
        _mean(folds, "logits")
    )
    trained = keras.Model(features, probabilities, name="trained")
    return keras.Model(pixels, trained(frozen(pixels)), name=name)


def _three_parts(ensemble: keras.Model) -> tuple[keras.Model, keras.Model, keras.Model]:
    """The frozen layers, those below the feature map, and from there on to each fold's logits."""
    below, trained = ensemble.layers[-2:]
    below.name = f"{ensemble.name}_frozen"
    feature_map = trained.get_layer(FEATURE_MAP).output
    logits = [one.output for one in trained.layers if one.name.startswith(heads.FOLD_LOGITS)]
    upper = keras.Model(trained.input, feature_map, name=f"{ensemble.name}_upper_layers")
    return below, upper, keras.Model(feature_map, logits, name=f"{ensemble.name}_heads")


def _mean(values: Sequence[keras.KerasTensor], name: str) -> keras.KerasTensor:
    if len(values) == 1:
        return layers.Activation("linear", dtype="float32", name=name)(values[0])
    return layers.Average(dtype="float32", name=name)(values)


def members_of(head: keras.Model) -> list[keras.Model]:
    """Return the members' heads, feature map -> logits, in the head of an ensemble; else none."""
    return [layer for layer in head.layers if isinstance(layer, keras.Model)]


def split_at_feature_map(trained: keras.Model) -> tuple[keras.Model, keras.Model]:
    """The backbone's trained layers and the head, sharing their variables with `trained`."""
    feature_map = trained.get_layer(FEATURE_MAP).output
    return keras.Model(trained.input, feature_map), keras.Model(feature_map, trained.output)
