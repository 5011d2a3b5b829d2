"""Feature maps of the frozen part, once per image and view."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tqdm import tqdm

Pixels = npt.NDArray[np.uint8]
FEATURES = "features.npy"


@dataclass(frozen=True)
class Source:
    """What the trained part reads.

    Attributes:
        values: (views, rows, ...), uint8 pixels (views, rows, side, side) or float16 features;
            view 0 is the image itself, view 1 its mirror image.
        pixels: whether `values` are raw pixels.
    """

    values: npt.NDArray[np.generic]
    pixels: bool


def embed(
    frozen: keras.Model, pixels: Pixels, folder: Path, *, mirrored: bool, batch_size: int = 32
) -> tuple[int, ...]:
    """Write the outputs of `frozen` for `pixels` (rows, side, side) and, if asked, their mirrors.

    Args:
        frozen: raw pixels (batch, side, side, 1), 0-255 -> features.
        pixels: uint8, may be memory-mapped: a batch is in memory at a time.
        folder: gets features.npy, float16, (views, rows, ...): view 0 is the image, view 1 its
            mirror image.
        mirrored: whether there is a view 1.
        batch_size: images at a time.

    Returns:
        The shape of the written array.
    """
    views = 2 if mirrored else 1
    shape = (views, len(pixels), *frozen.output.shape[1:])
    forward = tf.function(
        lambda batch: frozen(batch, training=False),
        input_signature=[tf.TensorSpec(frozen.input.shape, tf.float32)],
    )
    values = np.lib.format.open_memmap(folder / FEATURES, mode="w+", dtype=np.float16, shape=shape)
    with tqdm(total=views * len(pixels), unit="image", desc="embed", disable=None) as bar:
        for view in range(views):
            for start in range(0, len(pixels), batch_size):
                batch = np.asarray(pixels[start : start + batch_size], np.float32)[..., np.newaxis]
                batch = batch[:, :, ::-1] if view else batch
                values[view, start : start + len(batch)] = forward(batch).numpy()
                bar.update(len(batch))
    values.flush()
    return shape


def open_source(folder: Path, pixels: Path) -> Source:
    """The features in `folder` where it has some, else the pixels; memory-mapped."""
    if (folder / FEATURES).is_file():
        return Source(np.load(folder / FEATURES, mmap_mode="r"), pixels=False)
    return Source(np.load(pixels, mmap_mode="r")[np.newaxis], pixels=True)
