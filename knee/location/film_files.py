"""Whole films to files of one knee each, with the sheet beside them that ingest reads.

Every file is in the table of films: with its knees, or with the reason why it has none.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import pandas as pd
from PIL import Image
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from knee.intake import patients
from knee.intake.labels import IMAGE_SUFFIXES
from knee.location import cropping, knees
from knee.location.cropping import KneeImage
from knee.location.film_labels import FilmLabels
from knee.reading import image_formats, source_files
from knee.reading.decoded import Decoded, UnreadableImage
from knee.reading.source_files import SourceFile
from knee.storage.arrays import Pixels

IMAGES: Final = "images"
BATCH_FILES: Final = 32  # decoded films held at once
SHOWN_PIXELS: Final = 196  # longer side of a film in the picture


@dataclasses.dataclass(frozen=True)
class Cutting:
    """How films are cut."""

    box_widths: float  # side of a knee's square, in joint widths
    maximum_megapixels: float  # larger films are rejected unread
    key: bytes  # of the patients' hashes


@dataclasses.dataclass(frozen=True)
class CutFilm:
    """One film: its row, those of its knees, and how it looks."""

    film: dict[str, Any]
    knees: list[dict[str, Any]]
    shown: Pixels | None = None  # at most SHOWN_PIXELS wide and high
    boxes: tuple[tuple[float, float, float], ...] = ()  # left, top, side, px of `shown`


def cut_all(
    sources: Sequence[SourceFile], labels: FilmLabels | None, out: Path, cutting: Cutting
) -> Iterator[CutFilm]:
    """Write a PNG of each knee of each source below `out`/images; yield the films in order.

    A film's folder is kept, for it may be its class; the knees of a film of two lie in folders
    left and right in it, under the film's name, so that patterns of file names hold for them.
    """
    names = _names(sources)
    with (
        threadpool_limits(1, "blas"),  # its products are small: more threads wait for each other
        ThreadPoolExecutor(os.cpu_count() or 1) as pool,
        tqdm(total=len(sources), desc="films", unit="film", disable=None) as bar,
    ):
        for start in range(0, len(sources), BATCH_FILES):
            batch = sources[start : start + BATCH_FILES]
            for film in pool.map(
                lambda source: cut(source, names[source.name], labels, out, cutting), batch
            ):
                bar.update()
                yield film


def cut(
    source: SourceFile, name: PurePosixPath, labels: FilmLabels | None, out: Path, cutting: Cutting
) -> CutFilm:
    """Cut one film; `name` is that of its knees' files, below `out`/images."""
    row: dict[str, Any] = {"film": source.name, "knees": 0, "note": "", "reason": ""}
    try:
        content = source_files.read(source)
        image = image_formats.decode_radiograph(content, cutting.maximum_megapixels)
    except UnreadableImage as reason:
        return CutFilm({**row, "reason": str(reason)}, [])
    found = knees.locate(image.pixels)
    side = image.side or (labels.only_side(source.name) if labels else "")
    images = cropping.knee_images(image.pixels, found, side, cutting.box_widths)
    rows = [
        {
            "path": _write(one, name, out, together=len(images) == 2),
            **_facts(image, source.name, one.side, labels, cutting.key, together=len(images) == 2),
            "film": source.name,
            **one.place(),
        }
        for one in images
    ]
    notes = [*filter(None, [image.note]), *cropping.doubts(found, side)]
    reason = "" if images else cropping.NO_KNEE
    row |= {"knees": len(images), "note": "; ".join(notes), "reason": reason}
    shown, scale = _reduced(image.pixels)
    boxes = tuple((one.left * scale, one.top * scale, one.box_side * scale) for one in images)
    return CutFilm(row, rows, shown, boxes)


def sheet(films: Sequence[CutFilm]) -> pd.DataFrame:
    """Return the sheet of all knees, a row a file, that ingest reads as data.sheet."""
    table = pd.DataFrame([row for film in films for row in film.knees])
    return table.astype(object).where(table.notna(), "")


def _names(sources: Sequence[SourceFile]) -> dict[str, PurePosixPath]:
    """The name of each film's knees: the film's own without its extension, where that is unique."""
    stems = {source.name: _stem(PurePosixPath(source.name)) for source in sources}
    count = Counter(str(stem).casefold() for stem in stems.values())
    unique = {name: count[str(stem).casefold()] == 1 for name, stem in stems.items()}
    return {name: stem if unique[name] else PurePosixPath(name) for name, stem in stems.items()}


def _stem(path: PurePosixPath) -> PurePosixPath:
    return path.with_suffix("") if path.suffix.lower() in IMAGE_SUFFIXES else path


def _write(one: KneeImage, name: PurePosixPath, out: Path, *, together: bool) -> str:
    """Write the PNG of a knee and return its path below `out`/images."""
    path = name.parent / (one.side if together else "") / f"{name.name}.png"
    target = out / IMAGES / path
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(one.pixels).save(target)
    return path.as_posix()


def _facts(
    image: Decoded, film: str, side: str, labels: FilmLabels | None, key: bytes, *, together: bool
) -> dict[str, Any]:
    """What the sheet, else the file, tells of a knee; those of one film have one patient."""
    patient = patients.hashed(image.patient, key)
    age = "" if math.isnan(image.age_years) else image.age_years
    facts = {"patient": patient, "age": age, "sex": image.sex, "origin": image.origin}
    told = labels.facts(film, side) if labels else {}
    if "patient" in told:  # hashed as the header's: a person may be in films with and without a row
        told["patient"] = patients.hashed(told["patient"], key, from_zero=True)
    facts |= {name: text for name, text in told.items() if text}
    if together and not facts["patient"]:
        facts["patient"] = patients.hashed(f"film {film}", key)
    return {**facts, "side": side}


def _reduced(film: Pixels) -> tuple[Pixels, float]:
    """The film at the size at which it is shown, and the scale of it."""
    image = Image.fromarray(film)
    image.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS), reducing_gap=2.0)
    return np.asarray(image), image.width / film.shape[1]
