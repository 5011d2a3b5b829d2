"""Time and peak memory of embed and train with 1, 4 and 16 times the images."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.speed.workspace import Workspace
from knee.storage import row_files

BACKBONE = "mobilenet"
AT_ONCE = 1024
OVERRIDES = ("split=random", f"model={BACKBONE}", "embed.mirrored_view=false", "train.epochs=1")


def measure(workspace: Workspace, factors: list[int], most_images: int) -> dict[str, Any]:
    """The images repeated; one epoch. `most_images` cuts the data first, 0 takes all."""
    from knee.records import records_table

    workspace.compose(*OVERRIDES)
    if not workspace.path("rows.csv").is_file():
        workspace.take_in()
    base = workspace.folder
    found: dict[str, Any] = {"backbone": BACKBONE, "epochs": 1}
    for factor in factors:
        repeated = Workspace(base / f"times_{factor}", workspace.data, workspace.weights)
        repeated.compose(*OVERRIDES)
        count = _repeat_pixels(base / "pixels", repeated.path("pixels"), factor, most_images)
        table = records_table.read_records(base / "records.csv")
        table = table[table["pixel_row"].between(0, count - 1)]
        _repeat_tables(table, base, repeated, factor, count)
        embedded, trained = repeated.embed(BACKBONE), repeated.train(BACKBONE)
        found[f"x{factor}"] = {
            "images": factor * count,
            "embed_seconds": round(embedded.seconds, 1),
            "embed_peak_megabytes": round(embedded.peak_megabytes),
            "train_seconds": round(trained.seconds, 1),
            "train_peak_megabytes": round(trained.peak_megabytes),
        }
        shutil.rmtree(repeated.folder)
    first, last = found[f"x{factors[0]}"], found[f"x{factors[-1]}"]
    for stage in ("embed", "train"):
        key = f"{stage}_peak_megabytes"
        found[f"{stage}_peak_growth"] = round(last[key] / first[key], 2)
    return found


def _repeat_pixels(source: Path, target: Path, factor: int, most: int) -> int:
    pixels = row_files.RowFile(source, has_views=False)
    count = min(most, len(pixels)) if most else len(pixels)
    with row_files.written_rows(target, pixels.shape[2:], np.uint8) as repeated:
        for _ in range(factor):
            for start in range(0, count, AT_ONCE):
                repeated.extend(pixels.of_rows(np.arange(start, min(start + AT_ONCE, count))))
    return count


def _repeat_tables(
    table: pd.DataFrame, base: Path, repeated: Workspace, factor: int, count: int
) -> None:
    from knee.records import records_table
    from knee.splits import split_images, split_table

    turns = range(factor)
    split = pd.read_csv(base / "split.csv")
    split = split[split["record"].isin(table["record"])]
    rows = pd.read_csv(base / "rows.csv")
    rows = rows[rows["record"].isin(table["record"])]
    span = int(table["record"].max()) + 1

    def moved(frame: pd.DataFrame, turn: int) -> pd.DataFrame:
        changed = frame.assign(record=frame["record"] + turn * span)
        if "pixel_row" in frame:
            changed = changed.assign(pixel_row=frame["pixel_row"] + turn * count)
        return changed

    def all_of(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([moved(frame, turn) for turn in turns])

    records, splits = all_of(table), all_of(split)
    records_table.write_records(records, repeated.path("records.csv"))
    splits.to_csv(repeated.path("split.csv"), index=False)
    images = split_table.members(records, splits)
    split_images.write_images(images, repeated.path("split_images.csv"))
    all_of(rows).to_csv(repeated.path("rows.csv"), index=False)
