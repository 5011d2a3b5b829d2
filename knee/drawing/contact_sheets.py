"""Contact sheets of radiographs: the worst mistakes, and heat maps of the evidence.

They show record numbers, never file names: the sheets leave the machine with MLflow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from knee.drawing import palette
from knee.storage import artifacts
from knee.storage.arrays import Floats, Integers, Pixels

TILE: Final = 196  # px, side of an image on a sheet
CAPTION, MARGIN, HEADER = 38, 10, 62  # px
DENSEST: Final = 0.65  # opacity of the greatest heat, 0-1
BACKGROUND, TEXT, FAINT = "#111418", "#f2f2f2", "#9aa4ad"
RIGHT, WRONG = palette.SKY_BLUE, palette.ORANGE


def mistakes(
    predictions: pd.DataFrame, class_names: Sequence[str], count: int
) -> tuple[Integers, Floats]:
    """Return positions of the wrong predictions with the highest probabilities, highest first.

    And the highest probability of every row of `predictions`.
    """
    sure = predictions[[f"probability_{name}" for name in class_names]].max(axis=1).to_numpy()
    wrong = np.flatnonzero(predictions["label"].ne(predictions["predicted"]).to_numpy())
    return wrong[np.argsort(-sure[wrong], kind="stable")][:count], sure


def worst_mistakes(
    pixels: Pixels,
    predictions: pd.DataFrame,
    class_names: Sequence[str],
    count: int,
    subtitle: str,
    out: Path,
) -> None:
    """Draw the wrong predictions with the highest probabilities, highest first.

    Args:
        pixels: uint8 (rows, side, side), in the order of `predictions`.
        predictions: columns record, label, predicted and `probability_<class>` of each class.
        class_names: in any order.
        count: at most this many images.
        subtitle: what was evaluated.
        out: the PNG file.
    """
    worst, sure = mistakes(predictions, class_names, count)
    tiles = [_tile(pixels[row]) for row in worst]
    captions = [_caption(predictions.iloc[row], f"{sure[row]:.0%} sure") for row in worst]
    title = "Worst mistakes: actual > predicted" if len(tiles) else "No mistakes on this subset"
    _write_sheet(tiles, captions, [WRONG] * len(tiles), 4, title, subtitle, out)


def heat_maps(
    pixels: Pixels,
    heats: Sequence[npt.NDArray[np.floating]],
    predictions: pd.DataFrame,
    title: str,
    subtitle: str,
    out: Path,
) -> None:
    """Draw each image beside itself under the heat of every attribution method.

    Args:
        pixels: uint8 (rows, side, side).
        heats: of each method, from left to right: (rows, side, side) in 0-1.
        predictions: columns record, label and predicted of the same rows.
        title: what stands beside each other.
        subtitle: what was evaluated.
        out: the PNG file.
    """
    strips, captions, colours = [], [], []
    for row in range(len(pixels)):
        tiles = [_tile(pixels[row]), *(overlay(pixels[row], heat[row], TILE) for heat in heats)]
        strip = Image.new("RGB", (len(tiles) * TILE, TILE))
        for number, tile in enumerate(tiles):
            strip.paste(tile, (number * TILE, 0))
            if number:  # a seam, or a dark image and the next run into one
                ImageDraw.Draw(strip).line([(number * TILE, 0), (number * TILE, TILE)], BACKGROUND)
        strips.append(strip)
        line = predictions.iloc[row]
        is_right = line["label"] == line["predicted"]
        captions.append(_caption(line, "right" if is_right else "wrong"))
        colours.append(RIGHT if is_right else WRONG)
    whole = f"{title}: evidence for the predicted class (actual > predicted)"
    _write_sheet(strips, captions, colours, 3, whole, subtitle, out)


def located_films(
    films: Sequence[tuple[int, Pixels, Sequence[tuple[float, float, float]]]],
    title: str,
    subtitle: str,
    out: Path,
    columns: int = 10,
) -> None:
    """Draw films with a box around each knee to a PNG.

    Args:
        films: number of each, the film, uint8 (height, width), and left, top and side of its
            boxes, px.
        title: first line.
        subtitle: second line.
        out: RGB PNG, replaced.
        columns: films a row, at most.
    """
    tiles, captions, colours = [], [], []
    for number, pixels, boxes in films:
        tile = Image.new("RGB", (TILE, TILE))
        image = Image.fromarray(pixels).convert("RGB")
        image.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
        corner = ((TILE - image.width) // 2, (TILE - image.height) // 2)
        tile.paste(image, corner)
        draw, scale = ImageDraw.Draw(tile), image.width / pixels.shape[1]
        for left, top, side in boxes:
            start = (corner[0] + left * scale, corner[1] + top * scale)
            end = (start[0] + side * scale, start[1] + side * scale)
            draw.rectangle((*start, *end), outline=RIGHT, width=2)
        tiles.append(tile)
        captions.append((f"film {number}", ("no knee", "1 knee", "2 knees")[len(boxes)]))
        colours.append(RIGHT if boxes else WRONG)
    _write_sheet(tiles, captions, colours, columns, title, subtitle, out)


def _caption(line: pd.Series, verdict: str) -> tuple[str, str]:
    names = f"{_short(str(line['label']))} > {_short(str(line['predicted']))}"
    return names, f"{verdict}, record {int(line['record'])}"


def _short(text: str, longest: int = 14) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _tile(image: Pixels, side_pixels: int = TILE) -> Image.Image:
    size = (side_pixels, side_pixels)
    return Image.fromarray(image).convert("RGB").resize(size, Image.Resampling.LANCZOS)


def overlay(image: Pixels, heat: npt.NDArray[np.floating], side_pixels: int) -> Image.Image:
    """Return an image under its heat map; where there is no heat it stays as it was.

    Args:
        image: uint8 (side, side).
        heat: (side, side) in 0-1.
        side_pixels: of the result.
    """
    from matplotlib import colormaps

    warm = Image.fromarray((colormaps["inferno"](heat)[..., :3] * 255).astype(np.uint8))
    opacity = Image.fromarray((heat * DENSEST * 255).astype(np.uint8))
    size = (side_pixels, side_pixels)
    return Image.composite(warm.resize(size), _tile(image, side_pixels), opacity.resize(size))


def _write_sheet(
    tiles: Sequence[Image.Image],
    captions: Sequence[tuple[str, str]],
    colours: Sequence[str],
    most_columns: int,
    title: str,
    subtitle: str,
    out: Path,
) -> None:
    columns = max(1, min(most_columns, len(tiles)))
    rows = -(-len(tiles) // columns)
    across = (tiles[0].width if tiles else TILE) + MARGIN
    down = TILE + CAPTION + MARGIN
    width = max(MARGIN + columns * across, 640)
    sheet = Image.new("RGB", (width, HEADER + rows * down + MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, 12), title, TEXT, ImageFont.load_default(18))
    draw.text((MARGIN, 38), subtitle, FAINT, ImageFont.load_default(13))
    font = ImageFont.load_default(13)
    for number, (tile, (first, second), colour) in enumerate(
        zip(tiles, captions, colours, strict=True)
    ):
        left = MARGIN + number % columns * across
        top = HEADER + number // columns * down
        sheet.paste(tile, (left, top))
        draw.rectangle((left, top, left + tile.width - 1, top + TILE - 1), outline=colour, width=2)
        draw.text((left, top + TILE + 3), first, TEXT, font)
        draw.text((left, top + TILE + 19), second, colour, font)
    with artifacts.staged_file(out) as staged:
        sheet.save(staged, format="PNG")
