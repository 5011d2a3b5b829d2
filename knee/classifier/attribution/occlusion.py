"""Occlusion: how much a class loses when a gray patch hides a part of the image.

Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from knee.classifier.attribution.grad_cam import Halves
from knee.run import progress
from knee.run.errors import UserError
from knee.storage.arrays import Images, Integers, Maps, Pixels


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
    batch_size: int = 40,
) -> Maps:
    """Maps of each model, float32 (models, rows, side, side), of pixels uint8 (rows, side, side).

    A value is the drop of the log-probability of the image's class (`class_indices`, (rows,)) when
    a patch in the image's mean gray is laid around that place, interpolated between positions;
    negative where the class gains. The models have one `frozen` part; those that share `upper` cost
    one pass together. At most `batch_size` images go at a time, in batches of like size.

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
    with progress.shown("occlusion", passes, "forward passes") as advance:
        for key in uppers:
            sharing = [number for number, model in enumerate(models) if id(model.upper) == key]
            predict = _predictor([models[number] for number in sharing], pixels.shape[1])
            for row, image in enumerate(pixels):
                logs = _log_probabilities(predict, _hidden(image, patch), batch_size)
                of_class = logs[:, :, class_indices[row]]
                drop = of_class[:, :1] - of_class[:, 1:]
                drops[sharing, row] = drop.reshape(-1, patch.positions, patch.positions)
                advance(patch.passes(1))
    return _enlarged(drops, pixels.shape[1])


def _hidden(image: Pixels, patch: Patch) -> Images:
    """The image itself, then with the patch at each position: (1 + positions**2, side, side, 1)."""
    windows = patch.windows(len(image))
    stack = np.repeat(np.asarray(image, np.float32)[np.newaxis], len(windows) + 1, axis=0)
    for number, window in enumerate(windows, start=1):
        stack[number][window] = image.mean()
    return stack[..., np.newaxis]


def _predictor(models: Sequence[Halves], side: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Raw pixels (images, side, side, 1) -> (models, images, classes), the backbone as one graph.

    The models differ in their heads alone.
    """
    spec = tf.TensorSpec([None, side, side, 1], tf.float32)
    feature_maps = tf.function(models[0].feature_maps, input_signature=[spec], autograph=False)

    def predict(images: tf.Tensor) -> tf.Tensor:
        maps = feature_maps(images)
        return tf.stack([model.classify(maps) for model in models])

    return predict


def _log_probabilities(
    predict: Callable[[tf.Tensor], tf.Tensor], images: Images, batch_size: int
) -> Images:
    """(models, images, classes)."""
    batches = np.array_split(images, -(-len(images) // batch_size))
    parts = [np.asarray(predict(tf.constant(batch))) for batch in batches]
    return np.asarray(np.log(np.concatenate(parts, axis=1) + keras.backend.epsilon()), np.float32)


def _enlarged(drops: Maps, side: int) -> Maps:
    """(models, rows, n, n) -> (models, rows, side, side), bilinear."""
    flat = drops.reshape(-1, *drops.shape[2:])[..., np.newaxis]
    large = tf.image.resize(flat, (side, side), method="bilinear")
    return np.asarray(large, np.float32).reshape(*drops.shape[:2], side, side)
