"""Listed files -> the records table and the canonical pixels, each file read once."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from knee.copies.copy_groups import Fingerprints
from knee.intake import patients
from knee.intake.examination import ExaminedFile
from knee.intake.labels import Listing
from knee.reading import canonical_image, source_files
from knee.records.records_table import COLUMNS
from knee.storage import row_files

BATCH_FILES: Final = 256  # decoded images held at once
# What a sheet, a DICOM header or a file's name may tell, and what stands for unknown.
FACTS: Final[dict[str, Any]] = {
    "patient": "",
    "side": "",
    "origin": "",
    "sex": "",
    "age_years": np.nan,
    "t_score": np.nan,
}


def take_in(
    listing: Listing, canonical: canonical_image.Canonical, key: bytes, pixels_out: Path
) -> tuple[pd.DataFrame, list[Fingerprints]]:
    """Read every file of `listing` once, write its canonical pixels to `pixels_out`.

    `key` is that of the patients' hashes.

    Returns:
        The records table with the facts of the files' own headers, without pictures and groups
        yet (-1), and the prints of the rows that have pixels, in order of pixel_row.

    Raises:
        FolderError: a class has no usable image.
    """
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    prints: list[Fingerprints] = []
    with row_files.written_rows(pixels_out, 2 * (canonical.side_pixels,), np.uint8) as array:
        for number, examined in enumerate(_examine_all(listing.sources, canonical, key)):
            row = {"record": number, "pixel_row": -1, "picture": -1, "group": -1}
            row |= {**FACTS, **examined.columns}
            label = row["label"]
            row["class_index"] = listing.classes.index(label) if label else -1
            if examined.canonical is not None and examined.prints is not None:
                row["pixel_row"] = array.append(examined.canonical)
                prints.append(examined.prints)
            for name, values in columns.items():
                values.append(row[name])
        frame = pd.DataFrame(columns).astype(COLUMNS)
        _check_classes(frame, listing)
    return frame, prints


def add_facts(
    frame: pd.DataFrame,
    facts: Mapping[str, Mapping[str, Any]],
    pattern: re.Pattern[str] | None,
    origin_pattern: re.Pattern[str] | None,
    key: bytes,
) -> pd.DataFrame:
    """`frame` with what is known beside the pixels.

    The sheet's `facts`, by source, come first, then those of the file's header, which `frame`
    has already, then what the patterns find in the file's name.
    """
    added: dict[str, list[Any]] = {name: [] for name in FACTS}
    for row in frame[["source", *FACTS]].to_dict("records"):
        stem = PurePosixPath(row["source"]).stem
        patient, side = patients.patient_and_side(stem, pattern, key)
        named = {"patient": patient, "side": side, "origin": patients.origin(stem, origin_pattern)}
        sheet = facts.get(row["source"], {})
        for name, unknown in FACTS.items():
            candidates = (where.get(name, unknown) for where in (sheet, row, named))
            added[name].append(next((v for v in candidates if not _unknown(v)), unknown))
    return frame.assign(**added).astype({name: COLUMNS[name] for name in FACTS})


def _unknown(value: Any) -> bool:
    return bool(value == "" or value != value)


def _examine_all(
    sources: Sequence[source_files.SourceFile], canonical: canonical_image.Canonical, key: bytes
) -> Iterator[ExaminedFile]:
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
            for examined in pool.map(lambda source: examine(source, canonical, key), batch):
                bar.update()
                yield examined


def _check_classes(frame: pd.DataFrame, listing: Listing) -> None:
    """A class without any usable image would vanish from everything that follows."""
    usable = set(frame.loc[frame["pixel_row"] >= 0, "label"])
    empty = [name for name in listing.classes if name not in usable]
    if empty:
        reasons = sorted(set(frame["reason"]) - {""})[:3]
        raise source_files.FolderError(
            f"{listing.shown} has no usable image in {', '.join(empty)}"
            + (f" (rejected: {'; '.join(reasons)})" if reasons else "")
            + ": add images, or leave the class out"
        )
