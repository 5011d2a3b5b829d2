"""Whole films to files of one knee each, with the sheet beside them that ingest reads.

Every file is in the table of films: with its knees, or with the reason why it has none. The sheet
has a row of each knee, and one of each film without any: ingest makes rejected rows of these.
"""

from __future__ import annotations

import dataclasses
import math
import os
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import pandas as pd
from PIL import Image
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from knee.intake import cell_values, patients, sheet_columns
from knee.intake.labels import IMAGE_SUFFIXES, NO_ROW
from knee.location import cropping, knees
from knee.location.cropping import KneeImage
from knee.location.film_labels import LEFT, RIGHT, FilmLabels
from knee.reading import image_formats, source_files
from knee.reading.canonical_image import DicomRule
from knee.reading.decoded import OLDEST_YEARS, Decoded, UnreadableImage
from knee.reading.source_files import SourceFile
from knee.run.errors import UserError
from knee.run.messages import quoted
from knee.storage.arrays import Pixels

IMAGES: Final = "images"
SCALE: Final = "scale"  # column of the films
NO_LABEL: Final = "the sheet does not label each knee of it, or a side that is not known here"
BATCH_FILES: Final = 32  # decoded films held at once
SHOWN_PIXELS: Final = 196  # longer side of a film in the picture
SHOWN_FILMS: Final = 100  # in the picture, at most
SHOWN_SEED: Final = 42  # of their choice


class NamesError(UserError):
    """Two films whose knees would have one name."""


@dataclasses.dataclass(frozen=True)
class Cutting:
    """How films are cut."""

    box_widths: float  # side of a knee's square, in joint widths
    maximum_megapixels: float  # larger films are rejected unread
    key: bytes = dataclasses.field(repr=False)  # of the patients' hashes
    placeholders: tuple[str, ...] = ()  # texts that are no patient number
    dicom_rule: DicomRule = image_formats.ANY_RADIOGRAPH
    box_millimetres: float = 0.0  # side of a knee's square where its film tells the scale; 0: never

    def hashed(self, patient: str, *, from_zero: bool = False) -> str:
        """Return the pseudonym of a patient's number; "" for a placeholder."""
        found = patients.hashed(patient, self.key, from_zero=from_zero)
        nobody = {patients.hashed(text, self.key, from_zero=True) for text in self.placeholders}
        return "" if found in nobody else found


@dataclasses.dataclass(frozen=True)
class CutFilm:
    """One film: its row, those of its knees, and how it looks."""

    film: dict[str, Any]
    knees: list[dict[str, Any]]  # rows of the sheet
    shown: Pixels | None = None  # at most SHOWN_PIXELS wide and high
    boxes: tuple[tuple[float, float, float], ...] = ()  # left, top, side, px of `shown`


def cut_all(
    sources: Sequence[SourceFile], labels: FilmLabels, out: Path, cutting: Cutting
) -> Iterator[CutFilm]:
    """Write a PNG of each knee of each source below `out`/images; yield the films in order.

    A film's folder is kept, for it may be its class; the knees of a film of two lie in folders
    left and right in it, under the film's name, so that patterns of file names hold for them. Rows
    of `labels` without a film come last. `NamesError` if two knees would have one name.
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
    yield from (_without(film, reason, labels) for film, reason in labels.absent.items())


def few_shown(cut: Iterable[CutFilm]) -> list[CutFilm]:
    """Return all films, of which at most `SHOWN_FILMS`, drawn with equal chances, are shown.

    Algorithm R of Vitter 1985, https://doi.org/10.1145/3147.3165: film n takes the place of one of
    those kept with a chance of `SHOWN_FILMS` / n, so memory never holds the pixels of more.
    """
    films: list[CutFilm] = []
    kept: list[int] = []
    drawn, seen = random.Random(SHOWN_SEED), 0  # noqa: S311
    for number, film in enumerate(cut):
        films.append(film)
        if film.shown is None:
            continue
        seen += 1
        if len(kept) < SHOWN_FILMS:
            kept.append(number)
            continue
        place, dropped = drawn.randrange(seen), number
        if place < SHOWN_FILMS:
            dropped, kept[place] = kept[place], number
        films[dropped] = dataclasses.replace(films[dropped], shown=None)
    return films


def cut(
    source: SourceFile, name: PurePosixPath, labels: FilmLabels, out: Path, cutting: Cutting
) -> CutFilm:
    """Cut one film; `name` is that of its knees' files, below `out`/images.

    Where the sheet gives the classes, a film without a row is not opened.
    """
    if labels.label_column and source.name not in labels.rows:
        return CutFilm(_film_row(source.name, 0, [], NO_ROW), [])
    (out / IMAGES / name.parent).mkdir(parents=True, exist_ok=True)  # a class, of no knee perhaps
    try:
        content = source_files.read(source)
        image = image_formats.decode_radiograph(
            content, cutting.maximum_megapixels, cutting.dicom_rule
        )
    except UnreadableImage as reason:
        return _without(source.name, str(reason), labels)
    found = knees.locate(image.pixels)
    if refusal := cropping.refusal(found):
        return _without(source.name, refusal, labels, image)
    side = image.side or labels.only_side(source.name)
    boxes = cutting.box_widths, cutting.box_millimetres
    images, doubts = cropping.cut_film(image, found, side, *boxes)
    notes = [*filter(None, [image.note]), *doubts]
    rows = [
        {
            "path": _write(one, name, out, together=len(images) == 2),
            **_facts(image, source.name, one.side, labels, cutting, together=len(images) == 2),
            "film": source.name,
            **one.place(),
            sheet_columns.FILM_NOTE: "; ".join(notes),
        }
        for one in images
    ]
    labelled = [row for row in rows if row.get(labels.label_column or "path")]
    if len(labelled) < len(rows):
        notes.append(NO_LABEL)
    row = _film_row(source.name, len(images), notes, scale=_scale(images[0], image))
    shown, scale = _reduced(image.pixels)
    squares = tuple((one.left * scale, one.top * scale, one.box_side * scale) for one in images)
    return CutFilm(row, labelled, shown, squares)


def sheet(films: Sequence[CutFilm]) -> pd.DataFrame:
    """Return the sheet that ingest reads in place of data.sheet: a row a knee.

    Where the films' sheet gives the classes, knees that it does not label have no row.
    """
    table = pd.DataFrame([row for film in films for row in film.knees], dtype=object)
    return table.where(table.notna(), "")


def _without(film: str, reason: str, labels: FilmLabels, image: Decoded | None = None) -> CutFilm:
    """A film without a knee; a row of the sheet says so, unless it lies beside all classes."""
    row = {"path": film, "film": film, sheet_columns.NO_IMAGE: reason}
    shown = None if image is None else _reduced(image.pixels)[0]
    return CutFilm(
        _film_row(film, 0, [], reason), [row] if labels.label_column or "/" in film else [], shown
    )


def _film_row(
    film: str, count: int, notes: Sequence[str], reason: str = "", scale: str = ""
) -> dict[str, Any]:
    note = "; ".join(notes)
    return {"film": film, "knees": count, SCALE: scale, "note": note, "reason": reason}


def _scale(knee: KneeImage, image: Decoded) -> str:
    """By what the squares of a film have their size, and where its millimetres hold."""
    plane = f" ({image.spacing_plane or 'unknown'} plane)"
    return knee.scale + plane * (knee.scale == cropping.MILLIMETRES)


def _names(sources: Sequence[SourceFile]) -> dict[str, PurePosixPath]:
    """The name of each film's knees: the film's own without its extension, where that is unique."""
    stems = {source.name: _stem(PurePosixPath(source.name)) for source in sources}
    # A stem such as 1.png may be the name of another film.
    both = [one for name, stem in stems.items() for one in {stem, PurePosixPath(name)}]
    count = Counter(str(one).casefold() for one in both)
    unique = {name: count[str(stem).casefold()] == 1 for name, stem in stems.items()}
    names = {name: stem if unique[name] else PurePosixPath(name) for name, stem in stems.items()}
    taken = {str(name).casefold(): film for film, name in names.items()}
    for film, name in names.items():
        for side in (LEFT, RIGHT):
            if other := taken.get(str(name.parent / side / name.name).casefold()):
                raise NamesError(
                    f"{quoted(other)} has the name that the {side} knee of {quoted(film)} would "
                    "have: rename one of them"
                )
    return names


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
    image: Decoded, film: str, side: str, labels: FilmLabels, cutting: Cutting, *, together: bool
) -> dict[str, Any]:
    """What the sheet, else the file, tells of a knee; those of one film have one patient."""
    patient = cutting.hashed(image.patient)
    age = "" if math.isnan(image.age_years) else image.age_years
    facts = {"patient": patient, "age": age, "sex": image.sex, "origin": image.origin}
    told = labels.facts(film, side)
    if "patient" in told:  # hashed as the header's: a person may be in films with and without a row
        told["patient"] = cutting.hashed(told["patient"], from_zero=True)
    if cell_values.age_years(told.get("age", "")) == OLDEST_YEARS:
        told["age"] = str(OLDEST_YEARS)
    facts |= {name: text for name, text in told.items() if text}
    if together and not facts["patient"]:
        facts["patient"] = patients.hashed(f"film {film}", cutting.key)
    return {**facts, "side": side}


def _reduced(film: Pixels) -> tuple[Pixels, float]:
    """The film at the size at which it is shown, and the scale of it."""
    image = Image.fromarray(film)
    image.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS), reducing_gap=2.0)
    return np.asarray(image), image.width / film.shape[1]
