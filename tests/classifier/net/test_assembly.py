"""Backbones, cuts and heads: what is frozen, what is trained, what is saved."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from knee.classifier.net.design import BackboneDesign, DesignError, read_design, write_design
from tests.classifier.conftest import SIDE, Films

pytestmark = pytest.mark.tf


@pytest.mark.parametrize("train_from", ["head", "all", "two"])
def test_the_whole_equals_the_frozen_part_and_the_trained_part(
    tiny: BackboneDesign, films: Films, train_from: str
) -> None:
    from knee.classifier.net import assembly, heads

    design = dataclasses.replace(tiny, train_from=train_from)
    parts = assembly.build(design, heads.HeadDesign(projection_channels=8), 3)
    pixels = films.pixels[:5, ..., None].astype(np.float32)
    stepwise = parts.trained(parts.frozen(pixels))
    np.testing.assert_array_equal(parts.whole(pixels), stepwise)
    np.testing.assert_allclose(np.sum(stepwise, axis=1), 1, atol=1e-5)


def test_only_layers_above_the_cut_are_trained(tiny: BackboneDesign) -> None:
    from knee.classifier.net import fine_tuning

    for train_from, expected in (("all", 6), ("two", 2)):
        _, upper = fine_tuning.split_backbone(dataclasses.replace(tiny, train_from=train_from))
        assert upper is not None
        assert len(upper.trainable_weights) == expected
    frozen, upper = fine_tuning.split_backbone(dataclasses.replace(tiny, train_from="head"))
    assert upper is None
    assert not frozen.trainable_weights


def test_auto_trains_all_without_weights_and_the_head_with_them(tiny: BackboneDesign) -> None:
    assert tiny.depth == "all"
    assert dataclasses.replace(tiny, weights="imagenet").depth == "head"


@pytest.mark.usefixtures("tiny")
def test_batch_norms_keep_their_statistics_only_where_they_are_fixed() -> None:
    from knee.classifier.net import backbones, fine_tuning

    base = backbones.build("tiny", SIDE, "none")
    fine_tuning._set_norms(base, fixed=True)
    assert not base.get_layer("norm").trainable
    fine_tuning._set_norms(base, fixed=False)
    assert base.get_layer("norm").trainable
    assert base.get_layer("norm").momentum == fine_tuning.NORM_MOMENTUM


def test_an_unknown_layer_is_named_with_the_known_ones(tiny: BackboneDesign) -> None:
    from knee.classifier.net import fine_tuning

    with pytest.raises(DesignError, match=r"train_from.*'three'.*one, norm, two"):
        fine_tuning.split_backbone(dataclasses.replace(tiny, train_from="three"))


def test_of_several_layers_a_backbone_takes_its_own(tiny: BackboneDesign) -> None:
    from knee.classifier.net import fine_tuning

    _, upper = fine_tuning.split_backbone(dataclasses.replace(tiny, train_from="conv_dw_6 two"))
    assert upper is not None
    assert [layer.name for layer in upper.layers[1:]] == ["two"]
    with pytest.raises(DesignError, match="tiny has several layers 'one two'"):
        fine_tuning.split_backbone(dataclasses.replace(tiny, train_from="one two"))


def test_an_unknown_backbone_is_named_with_the_known_ones() -> None:
    from knee.classifier.net import backbones

    with pytest.raises(DesignError, match=r"'vgg'.*mobilenet, xception"):
        backbones.find("vgg")


def test_a_folder_without_the_weights_is_named(tmp_path: Path) -> None:
    from knee.classifier.net import backbones

    with pytest.raises(DesignError, match=r"xception\.h5 does not exist"):
        backbones.weights_source(str(tmp_path), "xception")


def test_a_design_is_read_as_written(tiny: BackboneDesign, tmp_path: Path) -> None:
    write_design(tiny, tmp_path)
    assert read_design(tmp_path) == tiny


@pytest.mark.parametrize("name", ["mobilenet", "xception"])
def test_pixels_are_scaled_as_the_backbone_was_pretrained(name: str) -> None:
    import keras

    from knee.classifier.net import backbones

    applications = {
        "mobilenet": keras.applications.mobilenet,
        "xception": keras.applications.xception,
    }
    levels = np.arange(256, dtype=np.float32)[None, :, None] * np.ones((1, 1, 3), np.float32)
    row = backbones.find(name)
    expected = applications[name].preprocess_input(levels.copy())
    np.testing.assert_allclose(levels * row.scale + row.offset, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["mobilenet", "xception"])
def test_every_backbone_makes_a_classifier_of_raw_pixels(name: str) -> None:
    from knee.classifier.net import assembly, heads, saved

    design = BackboneDesign(name, 71)
    parts = assembly.build(design, heads.HeadDesign(), 4)
    probabilities = saved.predict(parts.whole, np.zeros((2, 71, 71), np.uint8))
    assert probabilities.shape == (2, 4)


@pytest.mark.parametrize(("channels", "millions"), [(1024, 34), (2048, 135)])
def test_the_published_head_has_the_published_size(channels: int, millions: int) -> None:
    import keras

    from knee.classifier.net import heads

    published = heads.HeadDesign(
        published=True,
        squeeze_excitation=channels == 1024,
        attention_heads=8,
        dense_units=512,
        dropout=0.25,
        gaussian_noise=0.25,
    )
    features = keras.Input((7, 7, channels))
    model = keras.Model(features, heads.attach(features, 3, published))
    assert round(model.count_params() / 1e6) == millions
    names = [layer.name for layer in model.layers]
    order = ["attention", "feature_noise", "pool", "hidden", "hidden_norm", "head_dropout"]
    assert [name for name in names if name in order] == order


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("squeeze", [True, False])
def test_each_block_of_the_head_can_be_left_out(attention: bool, squeeze: bool) -> None:
    import keras

    from knee.classifier.net import heads

    features = keras.Input((3, 3, 8))
    design = heads.HeadDesign(
        attention=attention, squeeze_excitation=squeeze, projection_channels=8
    )
    model = keras.Model(features, heads.attach(features, 3, design))
    names = {layer.name for layer in model.layers}
    assert ("attention" in names) == attention
    assert ("excited_pool" in names) == squeeze


def test_gating_the_average_is_averaging_the_gated_map() -> None:
    import keras

    from knee.classifier.net import heads

    features = keras.Input((3, 3, 8))
    model = keras.Model(features, heads.attach(features, 3, heads.HeadDesign()))
    inside = [model.get_layer(name).output for name in ("excite_pool", "excited_pool")]
    maps = np.random.default_rng(0).random((2, 3, 3, 8), np.float32)
    gate, gated = (np.asarray(part) for part in keras.Model(features, inside)(maps))
    np.testing.assert_allclose((maps * gate[:, None, None]).mean(axis=(1, 2)), gated, atol=1e-6)
