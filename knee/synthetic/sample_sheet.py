"""A labelled contact sheet of the synthetic sample: a row a class, both views."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from knee.storage import artifacts
from knee.synthetic.faults import CLASSES, Radiograph

CELL = (168, 216)  # px
GAP, CAPTION, TITLE, ROW_LABEL = 8, 18, 46, 26  # px
PAPER, INK, FAINT = (17, 19, 22), (235, 238, 240), (150, 158, 166)


def contact_sheet(
    images_folder: Path, out_png: Path, radiographs: Sequence[Radiograph], columns: int = 8
) -> None:
    """Draw `columns` radiographs of every class, five close-ups to three whole legs, to a PNG.

    Args:
        images_folder: what the radiographs' sources are relative to.
        out_png: RGB PNG, replaced; its bytes depend on the files alone.
        radiographs: candidates; a patient appears once.
        columns: radiographs a row, at least 2; a class with fewer leaves cells empty.
    """
    width = ROW_LABEL + columns * (CELL[0] + GAP) + GAP
    height = TITLE + len(CLASSES) * (CELL[1] + CAPTION + GAP) + GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((ROW_LABEL + GAP, TITLE / 2), "Synthetic knee radiographs", INK,
              font=ImageFont.load_default(22), anchor="lm")  # fmt: skip
    note = "generated from physics, no patient behind them; class by WHO T-score"
    draw.text((width - GAP, TITLE / 2 + 3), note, FAINT,
              font=ImageFont.load_default(13), anchor="rm")  # fmt: skip
    for row, label in enumerate(CLASSES):
        top = TITLE + row * (CELL[1] + CAPTION + GAP)
        sheet.paste(_row_label(label), (0, top))
        for column, radiograph in enumerate(_choice(radiographs, label, columns)):
            left = ROW_LABEL + GAP + column * (CELL[0] + GAP)
            sheet.paste(_cell(images_folder / radiograph.source), (left, top))
            caption = f"{radiograph.patient} {radiograph.side}   T {radiograph.t_score:+.1f}"
            draw.text((left + CELL[0] / 2, top + CELL[1] + CAPTION / 2), caption, FAINT,
                      font=ImageFont.load_default(12), anchor="mm")  # fmt: skip
    with artifacts.staged_file(out_png) as staged:
        sheet.save(staged, format="PNG", optimize=True)


def _choice(radiographs: Sequence[Radiograph], label: str, columns: int) -> list[Radiograph]:
    """The first radiographs of a class, one a patient: close-ups, then whole legs."""
    mine: dict[str, Radiograph] = {}
    for radiograph in radiographs:
        if radiograph.label == label:
            mine.setdefault(radiograph.patient, radiograph)
    close = [radiograph for radiograph in mine.values() if radiograph.view == "close-up"]
    whole = [radiograph for radiograph in mine.values() if radiograph.view == "whole-leg"]
    legs = min(len(whole), max(round(columns * 3 / 8), columns - len(close)))
    return [*close[: columns - legs], *whole[:legs]]


def _cell(path: Path) -> Image.Image:
    """The image in the middle of a black cell, 8 bits whatever the file has."""
    with Image.open(path) as image:
        deep = image.mode == "I;16"
        gray = np.asarray(image) // 257 if deep else np.asarray(image.convert("L"))
    thumbnail = Image.fromarray(gray.astype(np.uint8)).convert("RGB")
    thumbnail.thumbnail(CELL, Image.Resampling.LANCZOS)
    cell = Image.new("RGB", CELL)
    cell.paste(thumbnail, ((CELL[0] - thumbnail.width) // 2, (CELL[1] - thumbnail.height) // 2))
    return cell


def _row_label(label: str) -> Image.Image:
    """A class name, read from bottom to top."""
    flat = Image.new("RGB", (CELL[1], ROW_LABEL), PAPER)
    ImageDraw.Draw(flat).text((CELL[1] / 2, ROW_LABEL / 2 + 2), label, INK,
                              font=ImageFont.load_default(16), anchor="mm")  # fmt: skip
    return flat.transpose(Image.Transpose.ROTATE_90)
