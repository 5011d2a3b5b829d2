"""Occlusion: how much a class loses when a gray patch hides a part of the image.

Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import keras
import numpy as np
import tensorflow as tf

from knee.classifier.attribution.grad_cam import Halves
from knee.classifier.features import engines
from knee.classifier.features.engines import Engine
from knee.run import progress
from knee.run.errors import UserError
from knee.storage.arrays import Integers, Maps, Pixels

TENSORFLOW: Final = Engine("tensorflow", "float32")


class OcclusionError(UserError):
    """More forward passes than are allowed, or a patch that cannot be slid."""


@dataclass(frozen=True)
class Patch:
    """A square patch and where it is laid.

    Attributes:
        patch_share: side of the patch / side of the image, above 0 to 1.
        stride_share: distance of neighbouring positions / side of the image, likewise; rounded so
            that a whole number of positions fills the side.
    """

    patch_share: float
    stride_share: float

    def __post_init__(self) -> None:
        for name, share in vars(self).items():
            if not 0 < share <= 1:
                raise OcclusionError(f"explain.{name}: {share} is outside 0-1, or 0")

    @property
    def positions(self) -> int:
        """Positions of the patch along one side."""
        return max(1, round(1 / self.stride_share))

    def passes(self, images: int) -> int:
        """Forward passes of one model over `images`."""
        return images * (self.positions**2 + 1)

    def windows(self, side_pixels: int) -> list[tuple[slice, slice]]:
        """Rows and columns that the patch hides, position by position.

        Centres lie in the middle of equal cells, so that the border counts as much as the middle;
        a patch that reaches over the edge is cut off there.
        """
        centres = (np.arange(self.positions) + 0.5) * side_pixels / self.positions
        half = self.patch_share * side_pixels / 2
        starts = np.clip(np.rint(centres - half), 0, side_pixels - 1).astype(int)
        stops = np.clip(np.rint(centres + half), starts + 1, side_pixels).astype(int)
        spans = [slice(int(start), int(stop)) for start, stop in zip(starts, stops, strict=True)]
        return [(rows, columns) for rows in spans for columns in spans]


def occlusion(
    models: Sequence[Halves],
    pixels: Pixels,
    class_indices: Integers,
    patch: Patch,
    *,
    most_passes: int,
    engine: Engine = TENSORFLOW,
    batch_size: int = 40,
) -> Maps:
    """Maps of each model, float32 (models, rows, side, side), of pixels uint8 (rows, side, side).

    A value is the drop of the log-probability of the image's class (`class_indices`, (rows,)) when
    a patch in the image's mean gray is laid around that place, interpolated between positions;
    negative where the class gains. The models have one `frozen` part, which `engine` computes;
    those that share `upper` cost one pass together. At most `batch_size` images go at a time, in
    batches of like size.

    Raises:
        OcclusionError: it would take more than `most_passes` forward passes of images.
    """
    uppers = dict.fromkeys(id(model.upper) for model in models)
    passes = patch.passes(len(pixels)) * len(uppers)
    if passes > most_passes:
        raise OcclusionError(
            f"{len(pixels)} images at {patch.positions**2} positions of the patch are {passes} "
            f"forward passes, above explain.most_forward_passes ({most_passes}): lower "
            "explain.images or raise explain.stride_share"
        )
    drops = np.empty((len(models), len(pixels), patch.positions, patch.positions), np.float32)
    frozen_maps = _frozen_part(models[0].frozen, engine)
    sharing = {key: [n for n, one in enumerate(models) if id(one.upper) == key] for key in uppers}
    predictors = [(same, _predictor([models[n] for n in same])) for same in sharing.values()]
    with progress.shown("occlusion", passes, "forward passes") as advance:
        for row, image in enumerate(pixels):
            hidden = _hidden(image, patch)
            batches = np.array_split(hidden, -(-len(hidden) // batch_size))
            maps = [frozen_maps(batch) for batch in batches]
            for same, predict in predictors:
                found = np.concatenate([np.asarray(predict(part)) for part in maps], axis=1)
                logs = np.log(found + keras.backend.epsilon())[:, :, class_indices[row]]
                drop = logs[:, :1] - logs[:, 1:]
                drops[same, row] = drop.reshape(-1, patch.positions, patch.positions)
                advance(patch.passes(1))
    return _enlarged(drops, pixels.shape[1])


def _hidden(image: Pixels, patch: Patch) -> Pixels:
    """The image itself, then with the patch at each position: uint8 (1 + positions**2, side, side).

    The patch has the image's mean gray, in whole gray levels.
    """
    windows = patch.windows(len(image))
    stack = np.repeat(image[np.newaxis], len(windows) + 1, axis=0)
    for number, window in enumerate(windows, start=1):
        stack[number][window] = round(image.mean())
    return stack


def _frozen_part(frozen: keras.Model, engine: Engine) -> Callable[[Pixels], tf.Tensor]:
    """Raw pixels, uint8 (images, side, side) -> what `frozen` gives for them.

    OpenVINO is not asked for a part without weights: its start would be all there is to it.
    """
    if engine.name == "openvino" and frozen.weights:
        forward = engines.OpenVinoForward(frozen, engine.precision)

        def by_openvino(images: Pixels) -> tf.Tensor:
            out = np.empty((len(images), *forward.output_shape), np.float32)
            forward.fill(images, out)
            return tf.constant(out)

        return by_openvino
    spec = tf.TensorSpec(frozen.input.shape, tf.float32)
    maps = tf.function(
        lambda images: frozen(images, training=False), input_signature=[spec], autograph=False
    )
    return lambda images: maps(tf.constant(images[..., np.newaxis], tf.float32))


def _predictor(models: Sequence[Halves]) -> Callable[[tf.Tensor], tf.Tensor]:
    """What the frozen part gives -> (models, images, classes); models that differ in their heads.

    What of the backbone was trained is one graph.
    """
    spec = tf.TensorSpec(models[0].upper.input.shape, models[0].upper.input.dtype)
    feature_maps = tf.function(
        lambda maps: models[0].upper(maps, training=False), input_signature=[spec], autograph=False
    )

    def predict(maps: tf.Tensor) -> tf.Tensor:
        features = feature_maps(maps)
        return tf.stack([model.classify(features) for model in models])

    return predict


def _enlarged(drops: Maps, side: int) -> Maps:
    """(models, rows, n, n) -> (models, rows, side, side), bilinear."""
    flat = drops.reshape(-1, *drops.shape[2:])[..., np.newaxis]
    large = tf.image.resize(flat, (side, side), method="bilinear")
    return np.asarray(large, np.float32).reshape(*drops.shape[:2], side, side)
