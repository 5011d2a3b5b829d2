"""A folder of source files -> the records table and the array of canonical pixels."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from stages.radiographs import files, patients, pixels
from stages.radiographs.examination import Canonical, Examined, Prints, examine
from stages.radiographs.records import COLUMNS

BATCH_FILES: Final = 256  # decoded images held at once


def take_in(
    folder: Path, classes: Sequence[str], canonical: Canonical, pixels_out: Path
) -> tuple[pd.DataFrame, list[Prints]]:
    """Decode every file below `folder` once, write its canonical pixels to `pixels_out`.

    Returns:
        The records table without patients, pictures and groups yet (all -1 or ""), and the
        prints of the rows that have pixels, in order of pixel_row.

    Raises:
        FolderError: the folder cannot be used, or holds no usable image.
    """
    names = files.class_folders(folder, classes)
    sources = files.list_sources(folder)
    rows: list[dict[str, Any]] = []
    prints: list[Prints] = []
    with pixels.pixel_file(pixels_out, canonical.side_pixels) as array:
        for examined in _examine_all(sources, canonical):
            columns = {"record": len(rows), "pixel_row": -1, **examined.columns}
            if examined.canonical is not None and examined.prints is not None:
                columns["pixel_row"] = array.append(examined.canonical)
                prints.append(examined.prints)
            rows.append(columns)
        _check_classes(folder, names, rows)
    frame = pd.DataFrame(rows)
    frame["class_index"] = [names.index(label) if label else -1 for label in frame["label"]]
    frame = frame.assign(patient="", side="", origin="", sex="", picture=-1, group=-1)
    frame = frame.assign(age_years=np.nan, t_score=np.nan)
    return frame[list(COLUMNS)].astype(COLUMNS), prints


def add_patients(frame: pd.DataFrame, pattern: re.Pattern[str] | None, key: bytes) -> pd.DataFrame:
    """`frame` with the patient and side that the file names tell."""
    stems = [PurePosixPath(source).stem for source in frame["source"]]
    found = [patients.patient_and_side(stem, pattern, key) for stem in stems]
    return frame.assign(patient=[patient for patient, _ in found], side=[side for _, side in found])


def _examine_all(sources: Sequence[files.Source], canonical: Canonical) -> Iterator[Examined]:
    """Every source in order, decoded in parallel: the decoders release the interpreter's lock."""
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(os.cpu_count() or 1) as pool,
        tqdm(total=len(sources), desc="ingest", unit="file", disable=None) as bar,
    ):
        warnings.simplefilter("ignore")  # an image that decodes is used, whatever Pillow mumbles
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for start in range(0, len(sources), BATCH_FILES):
            batch = sources[start : start + BATCH_FILES]
            for examined in pool.map(lambda source: examine(source, canonical), batch):
                bar.update()
                yield examined


def _check_classes(folder: Path, names: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """A class without any usable image would vanish from everything that follows."""
    usable = {row["label"] for row in rows if row["pixel_row"] >= 0}
    empty = [name for name in names if name not in usable]
    if empty:
        reasons = sorted({row["reason"] for row in rows if row["reason"]})[:3]
        raise files.FolderError(
            f"{folder} has no usable image in {', '.join(empty)}"
            + (f" (rejected: {'; '.join(reasons)})" if reasons else "")
            + ": add images, or move the folder away"
        )
