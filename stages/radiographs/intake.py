"""A folder of source files -> the records table and the array of canonical pixels."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from stages.radiographs import duplicates, files, patients, pixels
from stages.radiographs.records import COLUMNS, QUARANTINED, REJECTED, USED

BATCH_FILES: Final = 256  # decoded images held at once


@dataclasses.dataclass(frozen=True)
class Canonical:
    """How an image becomes its canonical pixels.

    Attributes:
        side_pixels: of the square.
        fit: letterbox or squash.
        maximum_megapixels: larger images are rejected unread.
    """

    side_pixels: int
    fit: Literal["letterbox", "squash"]
    maximum_megapixels: float


@dataclasses.dataclass(frozen=True)
class SamePicture:
    """When two files show the same picture.

    Attributes:
        radius_bits: largest distance of the perceptual hashes, of 256.
        correlation: smallest correlation of the reduced pixels.
        lineage: expressions cut from a stem to find its source's.
    """

    radius_bits: int
    correlation: float
    lineage: Sequence[re.Pattern[str]]


@dataclasses.dataclass(frozen=True)
class Prints:
    """What copies are recognised by: two hashes, uint8 (32,), and uint8 (48, 48)."""

    upright: pixels.Pixels
    mirrored: pixels.Pixels
    reduced: pixels.Pixels


@dataclasses.dataclass(frozen=True)
class Examined:
    """One file: its columns of the records table and, if it is an image, its pixels and prints."""

    columns: dict[str, Any]
    canonical: pixels.Pixels | None = None
    prints: Prints | None = None


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


def add_pictures(frame: pd.DataFrame, prints: Sequence[Prints], same: SamePicture) -> pd.DataFrame:
    """`frame` with picture and group numbers, each in the order of their first records.

    `prints` are those of the rows with pixels, in order of pixel_row.
    """
    usable = frame[frame["pixel_row"] >= 0]
    first = ~usable["pixel_sha256"].duplicated().to_numpy()  # identical pixels: compare one
    representatives: list[int] = np.flatnonzero(first).tolist()
    copies = duplicates.copy_pairs(
        np.stack([prints[index].upright for index in representatives]),
        np.stack([prints[index].mirrored for index in representatives]),
        np.stack([prints[index].reduced for index in representatives]),
        same.radius_bits,
        same.correlation,
    )
    pairs = [(representatives[one], representatives[two]) for one, two in copies]
    pairs += duplicates.equal_pairs(usable["pixel_sha256"].tolist())
    pairs += duplicates.equal_pairs(
        duplicates.lineage_keys(usable["source"].tolist(), same.lineage)
    )
    result = frame.copy()
    result.loc[usable.index, "picture"] = duplicates.components(len(usable), pairs)
    pairs += duplicates.equal_pairs(usable["patient"].tolist())
    result.loc[usable.index, "group"] = duplicates.components(len(usable), pairs)
    return result


def quarantine(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with every row quarantined whose picture stands under two or more labels."""
    usable = frame[frame["pixel_row"] >= 0]
    conflicts = duplicates.conflicting_labels(usable["picture"].tolist(), usable["label"].tolist())
    result = frame.copy()
    for picture, labels in conflicts.items():
        rows = result["picture"] == picture
        result.loc[rows, "status"] = QUARANTINED
        result.loc[rows, "reason"] = f"the same picture stands under {', '.join(labels)}"
    return result


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


def examine(source: files.Source, canonical: Canonical) -> Examined:
    """Read one file once; whatever is wrong with it becomes its reason."""
    columns = _empty_columns(source)
    try:
        content = files.read(source)
        columns |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        image = files.decode(content, canonical.maximum_megapixels)
    except files.UnreadableImage as reason:
        return Examined({**columns, "status": REJECTED, "reason": str(reason)})
    height, width = image.pixels.shape
    upright, mirrored = duplicates.perceptual_hashes(image.pixels)
    side = duplicates.COMPARED_SIDE_PIXELS
    columns |= {
        "pixel_sha256": _pixel_sha256(image.pixels),
        "perceptual_hash": upright.tobytes().hex(),
        "width": width,
        "height": height,
        "mode": image.mode,
        "format": image.format,
    }
    return Examined(
        columns,
        pixels.fit(image.pixels, canonical.side_pixels, canonical.fit),
        Prints(upright, mirrored, pixels.resize(image.pixels, side, side)),
    )


def _pixel_sha256(image: pixels.Pixels) -> str:
    """Of the shape as text and the gray values, row by row."""
    digest = hashlib.sha256(f"{image.shape[0]}x{image.shape[1]}:".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _empty_columns(source: files.Source) -> dict[str, Any]:
    text = ("reason", "sha256", "pixel_sha256", "perceptual_hash", "mode", "format", "compression")
    borders = ("border_top", "border_bottom", "border_left", "border_right")
    numbers = ("width", "height", "bytes", "bits", *borders)
    return {
        "source": source.name,
        "label": source.label,
        "status": USED,
        **dict.fromkeys(text, ""),
        **dict.fromkeys(numbers, 0),
        "pixel_spacing_mm": np.nan,
    }


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
