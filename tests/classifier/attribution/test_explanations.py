"""Grad-CAM, occlusion and redrawn weights on tiny nets whose evidence is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytestmark = [
    pytest.mark.tf,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning"),
]

SIDE = 32
SQUARE = (slice(4, 12), slice(20, 28))  # where a bright square decides for class 1


def net(*, trained_backbone: bool = False) -> Any:
    """Class 1 where anything is bright; in the two parts that every saved model has."""
    import keras

    from knee.classifier.attribution.grad_cam import halves
    from knee.classifier.net.assembly import FEATURE_MAP

    pixels = keras.Input((SIDE, SIDE, 1))
    frozen = keras.Model(pixels, keras.layers.Rescaling(1 / 255)(pixels))
    features = keras.Input((SIDE, SIDE, 1))
    pool = keras.layers.AveragePooling2D(4, name="pooled")
    hidden = pool(features)
    if trained_backbone:
        hidden = keras.layers.Conv2D(4, 1, kernel_initializer="ones", name="backbone")(hidden)
        hidden = keras.layers.BatchNormalization(name="norm")(hidden)
    hidden = keras.layers.Activation("linear", name=FEATURE_MAP)(hidden)
    hidden = keras.layers.GlobalAveragePooling2D()(hidden)
    hidden = keras.layers.Dense(4, kernel_initializer="ones", name="hidden")(hidden)
    outputs = keras.layers.Dense(2, "softmax", name="probabilities")(hidden)
    trained = keras.Model(features, outputs)
    falling_and_rising = np.stack([-np.full(4, 9.0), np.full(4, 9.0)], axis=1)
    trained.get_layer("probabilities").set_weights([falling_and_rising, np.zeros(2)])
    return halves(keras.Model(pixels, trained(frozen(pixels))))


@pytest.fixture
def films() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Two dim films with a bright square each, at the same place."""
    pixels = np.random.default_rng(0).integers(0, 12, (2, SIDE, SIDE)).astype(np.uint8)
    pixels[(slice(None), *SQUARE)] = 250
    return pixels


ONES = np.ones(2, np.int64)


def hide(model: Any, films: Any, **changes: Any) -> Any:
    from knee.classifier.attribution.occlusion import Patch, occlusion

    patch = Patch(0.25, 0.125)
    models = model if isinstance(model, list) else [model]
    return occlusion(models, films, ONES, patch, **{"most_passes": 10_000, **changes})


def test_occlusion_finds_the_square_that_decides(films: Any) -> None:
    (maps,) = hide(net(), films)
    assert maps.shape == (2, SIDE, SIDE)
    for found in maps:
        row, column = np.unravel_index(found.argmax(), found.shape)
        assert SQUARE[0].start <= row < SQUARE[0].stop
        assert SQUARE[1].start <= column < SQUARE[1].stop
        assert found[20:, :12].max() < 0.1 * found.max()


def test_grad_cam_is_a_map_of_zero_to_one_that_finds_the_square(films: Any) -> None:
    from knee.classifier.attribution.grad_cam import grad_cam

    maps = grad_cam(net(), films, ONES, batch_size=1)
    assert maps.shape == (2, SIDE, SIDE)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert maps.max(axis=(1, 2)) == pytest.approx(1, abs=0.1)
    assert maps[(slice(None), *SQUARE)].mean() > 5 * maps[:, 20:, :12].mean()


def test_batches_change_nothing_and_the_same_films_give_the_same_maps(films: Any) -> None:
    model = net()
    once = hide(model, films)
    assert (hide(model, films) == once).all()
    assert hide(model, films, batch_size=7) == pytest.approx(once, abs=1e-5)


def test_more_forward_passes_than_allowed_are_refused(films: Any) -> None:
    from knee.classifier.attribution.occlusion import OcclusionError, Patch

    assert Patch(0.25, 0.125).passes(2) == 2 * 65
    with pytest.raises(OcclusionError, match=r"130 forward passes, above .* \(129\)"):
        hide(net(), films, most_passes=129)
    with pytest.raises(OcclusionError, match=r"260 forward passes"):
        hide([net(), net()], films, most_passes=259)


def test_the_patch_covers_every_pixel_and_is_cut_at_the_edge() -> None:
    from knee.classifier.attribution.occlusion import Patch

    for share, stride in ((0.25, 0.125), (0.2, 0.1667), (1.0, 1.0), (0.01, 0.5)):
        patch = Patch(share, stride)
        windows = patch.windows(SIDE)
        assert len(windows) == patch.positions**2
        hidden = np.zeros((SIDE, SIDE), int)
        for window in windows:
            hidden[window] += 1
            assert hidden[window].size
        assert share < stride or hidden.min() > 0


def correlations(one: Any, other: Any) -> Any:
    from knee.evidence.explanation import attributions

    shares = [attributions.reduced(attributions.attribution(maps), 8) for maps in (one, other)]
    return attributions.rank_correlation(*shares)


def test_identical_weights_give_the_same_maps_and_redrawn_ones_other_maps(films: Any) -> None:
    from knee.classifier.attribution.randomisation import cascade

    model = net(trained_backbone=True)
    levels = cascade(model, films, seed=1)
    assert list(levels) == ["output", "head", "trained"]
    maps = hide([model, model, *levels.values()], films)
    assert correlations(maps[0], maps[1]) == pytest.approx(1)
    for redrawn in maps[2:]:
        assert np.abs(redrawn - maps[0]).max() > 0.01 * np.abs(maps[0]).max()
    assert (hide(model, films)[0] == maps[0]).all(), "the trained model was changed"


def test_a_level_redraws_its_layers_and_no_others(films: Any) -> None:
    from knee.classifier.attribution.randomisation import cascade

    model = net(trained_backbone=True)
    levels = cascade(model, films, seed=1)

    def changed(level: str) -> set[str]:
        layers = [*model.upper.layers, *model.head.layers]
        others = [*levels[level].upper.layers, *levels[level].head.layers]
        return {
            one.name
            for one, other in zip(layers, others, strict=True)
            for a, b in zip(one.get_weights(), other.get_weights(), strict=True)
            if a.shape != b.shape or (a != b).any()
        }

    assert changed("output") == {"probabilities"}
    # The hidden layer's initialiser is a constant: only what is random can change.
    assert changed("head") == {"probabilities"}
    assert changed("trained") == {"probabilities", "norm"}
    assert levels["output"].upper is levels["head"].upper is model.upper


def test_settled_batch_norms_have_the_statistics_of_the_images(films: Any) -> None:
    from knee.classifier.attribution.randomisation import cascade

    levels = cascade(net(trained_backbone=True), films, seed=1)
    norm = levels["trained"].upper.get_layer("norm")
    means = films.mean() / 255
    assert np.asarray(norm.moving_mean) == pytest.approx(means, rel=1e-3)


def test_without_a_trained_backbone_the_head_is_all_that_is_redrawn(films: Any) -> None:
    from knee.classifier.attribution.randomisation import cascade

    assert list(cascade(net(), films, seed=1)) == ["output", "head"]
