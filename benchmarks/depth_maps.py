r"""Averaged maps of several depths of a frozen backbone, of inputs that the pipeline does not make.

    python -m benchmarks.depth_maps --data-run FOLDER --weights FOLDER --backbone mobilenet \
        --side 320 --input standardised --maps-out FOLDER/NAME.npz

Of the pictures that cross_validate predicts and of their mirror images. The file holds `record`
(pictures,) and, by layer, float32 (2, pictures, channels). benchmarks.levers tries them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import finished_run
from stages.classifier import engines
from stages.radiographs import borders
from stages.radiographs.pixels import Pixels

LAYERS = {
    "mobilenet": [f"conv_pw_{number}_relu" for number in (3, 5, 8, 11, 13)],
    "xception": ["add_1", "add_2", "add_6", "add_11", "block14_sepconv2_act"],
}
TILES, CLIP = 8, 2.0  # of the equalisation: tiles a side, and the most of a flat histogram's height
MIDDLE = 0.75  # of the side: "joint" sees this square in the middle


def equalised(image: Pixels) -> Pixels:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld 1994, Graphics Gems IV)."""
    height, width = image.shape
    tall, wide = height // TILES, width // TILES
    tables = np.zeros((TILES, TILES, 256))
    for row in range(TILES):
        for column in range(TILES):
            tile = image[row * tall : (row + 1) * tall, column * wide : (column + 1) * wide]
            counts = np.bincount(tile.ravel(), minlength=256).astype(np.float64)
            limit = CLIP * tile.size / 256
            counts = np.minimum(counts, limit) + np.maximum(counts - limit, 0).sum() / 256
            tables[row, column] = 255 * np.cumsum(counts) / tile.size
    (top, bottom, down), (left, right, along) = (_between(n) for n in (height, width))
    mixed = [
        (1 - along) * tables[rows[:, None], left[None], image]
        + along * tables[rows[:, None], right[None], image]
        for rows in (top, bottom)
    ]
    blended = (1 - down[:, None]) * mixed[0] + down[:, None] * mixed[1]
    return np.asarray(np.clip(blended, 0, 255), np.uint8)


def standardised(image: Pixels) -> Pixels:
    """The 1st and 99th percentile become black and white."""
    low, high = np.percentile(image, (1, 99))
    return np.asarray(np.clip((image - low) / max(high - low, 1) * 255, 0, 255), np.uint8)


def joint(image: Pixels) -> Pixels:
    """The middle of the film, where a knee's joint is."""
    edge = round(len(image) * (1 - MIDDLE) / 2)
    return image[edge : len(image) - edge, edge : len(image) - edge]


def cropped(image: Pixels) -> Pixels:
    """Without its black borders, black beside or above and below, so that it is square again."""
    inside = borders.crop(image, borders.measure(image))
    side = max(inside.shape)
    square = np.zeros((side, side), np.uint8)
    top, left = ((side - length) // 2 for length in inside.shape)
    square[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return square


INPUTS: dict[str, Callable[[Pixels], Pixels]] = {
    "plain": lambda image: image,
    "equalised": equalised,
    "standardised": standardised,
    "cropped": cropped,
    "joint": joint,
}


def main() -> None:
    """Compute and write the maps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-run", type=Path, required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--backbone", choices=LAYERS, required=True)
    parser.add_argument("--side", type=int, default=224, help="pixels; the input is resized")
    parser.add_argument("--input", choices=INPUTS, default="plain")
    parser.add_argument("--maps-out", type=Path, required=True)
    chosen = parser.parse_args()
    engine = engines.choose("openvino")
    engines.prepare(engine)
    run = finished_run.read(chosen.data_run, "all")
    pixels = np.load(run.folder / "data" / "pixels.npy", mmap_mode="r", allow_pickle=False)
    change = INPUTS[chosen.input]
    rows = run.kept["pixel_row"]
    images = np.stack([_resized(change(np.asarray(pixels[row])), chosen.side) for row in rows])
    model, sizes = _model(chosen.backbone, chosen.side, chosen.weights)
    forward = engines.OpenVinoForward(model, engine.precision)
    out = np.empty((2, len(images), *forward.output_shape), np.float32)
    forward.fill(images, out[0])
    forward.fill(np.ascontiguousarray(images[:, :, ::-1]), out[1])
    parts = np.split(out, np.cumsum(sizes)[:-1], axis=2)
    maps: dict[str, Any] = dict(zip(LAYERS[chosen.backbone], parts, strict=True))
    np.savez(chosen.maps_out, record=run.kept["record"].to_numpy(), **maps)


def _model(backbone: str, side: int, weights: str) -> tuple[Any, list[int]]:
    """Gray channels-first images -> averages of `LAYERS` side by side, and their numbers."""
    import keras
    from keras import layers

    from stages.classifier import backbones

    base, row = backbones.build(backbone, side, weights), backbones.find(backbone)
    pixels = keras.Input((side, side, 1))
    scaled = layers.Permute((3, 1, 2))(layers.Rescaling(row.scale, row.offset)(pixels))
    three = layers.Concatenate(axis=1)([scaled, scaled, scaled])
    outputs = [base.get_layer(name).output for name in LAYERS[backbone]]
    averages = [layers.GlobalAveragePooling2D(data_format="channels_first")(one) for one in outputs]
    inner = keras.Model(base.input, layers.Concatenate()(averages))
    return keras.Model(pixels, inner(three)), [int(one.shape[1]) for one in outputs]


def _resized(image: Pixels, side: int) -> Pixels:
    if image.shape == (side, side):
        return image
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


def _between(pixels: int) -> tuple[Any, Any, Any]:
    """Of each pixel the tiles whose tables it mixes, and the second one's share."""
    place = (np.arange(pixels) + 0.5) / (pixels // TILES) - 0.5
    first = np.clip(np.floor(place), 0, TILES - 1).astype(int)
    second = np.clip(first + 1, 0, TILES - 1)
    return first, second, np.clip(place - first, 0, 1)


if __name__ == "__main__":
    main()
