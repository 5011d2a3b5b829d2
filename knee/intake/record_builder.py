"""Source files to the records table, the canonical pixels and fingerprints, each read once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import pandas as pd
from tqdm import tqdm

from knee.copies import copy_check, hash_search
from knee.copies.fingerprints import FingerprintFile, Fingerprints
from knee.intake import manifest, patient_remarks, patients
from knee.intake.labels import Listing
from knee.reading import (
    borders,
    canonical_image,
    image_formats,
    negatives,
    prepare,
    source_files,
)
from knee.reading.canonical_image import Canonical
from knee.reading.decoded import Decoded, UnreadableImage
from knee.reading.source_files import SourceFile
from knee.records.records_table import COLUMNS, REJECTED, UNLISTED, USED
from knee.storage import row_files
from knee.storage.arrays import Pixels
from knee.storage.known_results import KnownResults

BATCH_FILES: Final = 256  # decoded images held at once
UNKNOWN: Final[dict[str, Any]] = {"str": "", "int64": 0, "float64": np.nan}  # by type
# What a sheet, a DICOM header or a file's name may tell.
FACTS: Final = ("patient", "side", "origin", "sex", "age_years", "t_score")
INVERTED: Final = "polarity: a photographic negative, its gray values were inverted"
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ExaminedFile:
    """One file: its row of the records table and, if it is an image, pixels and fingerprints."""

    columns: dict[str, Any]
    canonical: Pixels | None = None
    fingerprints: Fingerprints | None = None

    def packed(self) -> bytes:
        """Return all of an image, one after the other."""
        if self.canonical is None or self.fingerprints is None:
            raise ValueError("a file that is no image has no pixels")
        pixels = (self.canonical, *self.fingerprints)
        return b"\n".join(
            [json.dumps(self.columns).encode(), b"".join(one.tobytes() for one in pixels)]
        )

    @classmethod
    def unpacked(cls, value: bytes, side_pixels: int) -> ExaminedFile:
        """Return the image whose `packed` is `value`."""
        columns, _, pixels = value.partition(b"\n")
        side, reduced = side_pixels, copy_check.REDUCED_SIDE_PIXELS
        sizes = (side * side, hash_search.HASH_BYTES, hash_search.HASH_BYTES, reduced * reduced)
        parts = np.split(np.frombuffer(pixels, np.uint8), np.cumsum(sizes))
        # Copies: fingerprints stay in memory, the canonical pixels must not.
        square, upright, mirrored, small, views = (part.copy() for part in parts)
        small, views = small.reshape(reduced, reduced), views.reshape(-1, reduced, reduced)
        fingerprints = Fingerprints(upright, mirrored, small, views)
        return cls(json.loads(columns), square.reshape(side, side), fingerprints)


def take_in(
    listing: Listing,
    canonical: Canonical,
    key: bytes,
    pixels_out: Path,
    known: KnownResults | None = None,
    *,
    invert_negatives: bool = False,
) -> tuple[pd.DataFrame, FingerprintFile]:
    """Read every file of `listing` once, write its canonical pixels to `pixels_out`.

    `key` is that of the patients' hashes. An image that is `known` by its SHA-256 is not decoded.
    With `invert_negatives` the canonical pixels of photographic negatives are those of the upright
    image, and their notes say so; fingerprints are of what the file shows. `FolderError` if a class
    has no usable image.

    Returns:
        The records table with the facts of the files' own headers, without copy groups and patient
        groups yet (-1), and the fingerprints of the rows with pixels, in order of pixel_row.
    """
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    pixels_out.parent.mkdir(parents=True, exist_ok=True)
    fingerprints = FingerprintFile(pixels_out.parent)  # their images need half as much disk or less
    with row_files.written_rows(pixels_out, 2 * (canonical.side_pixels,), np.uint8) as array:
        for number, examined in enumerate(_examine_all(listing.sources, canonical, key, known)):
            row = {**examined.columns, "record": number}
            if row["label"]:
                row["class_index"] = listing.classes.index(row["label"])
            if examined.canonical is not None and examined.fingerprints is not None:
                row["pixel_row"] = array.append(examined.canonical)
                fingerprints.append(examined.fingerprints)
            for name, values in columns.items():
                values.append(row[name])
        frame = pd.DataFrame(columns).astype(COLUMNS)
        if invert_negatives:
            frame = _invert_negatives(frame, fingerprints, listing.sources, canonical, array)
        _check_classes(frame, listing)
    return frame, fingerprints


def _invert_negatives(
    frame: pd.DataFrame,
    fingerprints: FingerprintFile,
    sources: Sequence[SourceFile],
    canonical: Canonical,
    array: row_files.RowWriter,
) -> pd.DataFrame:
    """Put upright pixels in the place of those of negatives; return `frame` with notes of it."""
    number_of = {row: number for number, row in enumerate(frame["pixel_row"].tolist())}
    notes = frame["note"].tolist()
    for row in negatives.find(fingerprints.reduced).tolist():
        number = number_of[row]
        content = source_files.read(sources[number])
        image = image_formats.decode_radiograph(
            content, canonical.maximum_megapixels, canonical.dicom
        )
        array.replace(row, prepare.from_gray(255 - image.pixels, canonical))
        notes[number] = "; ".join(filter(None, [notes[number], INVERTED]))
    return frame.assign(note=notes)


def examine(
    source: SourceFile, canonical: Canonical, key: bytes, known: KnownResults | None = None
) -> ExaminedFile:
    """Read one file once; whatever is wrong with it becomes its reason.

    `ManifestError` if it is not what the manifest says.

    The patient that a DICOM header tells is in the columns as hashed with `key`. pixel_sha256 is of
    the whole image; pixels and fingerprints are without its margins if these are cut off.
    """
    row = {name: UNKNOWN[kind] for name, kind in COLUMNS.items()}
    row |= dict.fromkeys(("class_index", "pixel_row", "picture", "group"), -1)
    row |= {"source": source.name, "label": source.label, "part": source.part, "status": USED}
    try:
        content = source_files.read(source)
        row |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        manifest.check_content(source, row["sha256"])
        image = _image(content, bytes.fromhex(row["sha256"]), canonical, key, known)
    except UnreadableImage as reason:
        status = REJECTED if source.listed else UNLISTED
        return ExaminedFile({**row, "status": status, "reason": str(reason)})
    return dataclasses.replace(image, columns=row | image.columns)


def _image(
    content: bytes, digest: bytes, canonical: Canonical, key: bytes, known: KnownResults | None
) -> ExaminedFile:
    """The image that a file's `content` is, and the columns that follow from it; known or not."""
    if known is None:
        return _decoded(content, canonical, key)
    value = known.get(digest)
    if value is not None:
        image = ExaminedFile.unpacked(value, canonical.side_pixels)
    else:
        image = _decoded(content, canonical, key)
        value = image.packed()
    known.add(digest, value)
    return image


def _decoded(content: bytes, canonical: Canonical, key: bytes) -> ExaminedFile:
    image = image_formats.decode_radiograph(content, canonical.maximum_megapixels, canonical.dicom)
    margins = borders.measure(image.pixels)
    pixels = borders.crop(image.pixels, margins) if canonical.crop_borders else image.pixels
    fingerprints = Fingerprints.of(pixels)
    columns = {
        "pixel_sha256": _pixel_sha256(image.pixels),
        "perceptual_hash": fingerprints.upright.tobytes().hex(),
        **_header_columns(image, key),
        **{f"border_{name}": width for name, width in dataclasses.asdict(margins).items()},
    }
    square = canonical_image.fit(pixels, canonical.side_pixels, canonical.fit)
    return ExaminedFile(columns, square, fingerprints)


def add_facts(
    frame: pd.DataFrame,
    facts: Mapping[str, Mapping[str, Any]],
    pattern: str,
    origin_pattern: str,
    key: bytes,
    placeholders: Collection[str] = (),
) -> pd.DataFrame:
    """Return `frame` with what is known beside the pixels.

    The sheet's `facts`, by source, come first, then those of the file's header, which `frame`
    has already, then what the patterns find in the file's name. `placeholders` are hashes that are
    no patients. A warning says where these disagree about patients. A sheet's note comes after the
    file's own.
    """
    added: dict[str, list[Any]] = {name: [] for name in (*FACTS, "note")}
    told: list[patients.Told] = []
    for row in frame[["source", "note", *FACTS]].to_dict("records"):
        stem = PurePosixPath(row["source"]).stem
        patient, side = patients.patient_and_side(stem, pattern, key)
        named = {"patient": patient, "side": side, "origin": patients.origin(stem, origin_pattern)}
        sheet = facts.get(row["source"], {})
        notes = (row["note"], sheet.get("note", ""))
        added["note"].append("; ".join(filter(None, notes)))
        for name in FACTS:
            unknown = UNKNOWN[COLUMNS[name]]
            values = [facts_of.get(name, unknown) for facts_of in (sheet, row, named)]
            if name == "patient":
                told.append(patients.Told(*("" if v in placeholders else v for v in values)))
            added[name].append(next((v for v in values if not _is_unknown(v)), unknown))
    added["patient"] = patients.resolved(told)
    for said in patient_remarks.disagreements(told):
        log.warning("%s", said)
    return frame.assign(**added).astype({name: COLUMNS[name] for name in added})


def _examine_all(
    sources: Sequence[SourceFile],
    canonical: Canonical,
    key: bytes,
    known: KnownResults | None = None,
) -> Iterator[ExaminedFile]:
    """Every source in order, decoded in parallel: the decoders release the interpreter's lock."""
    with (
        ThreadPoolExecutor(os.cpu_count() or 1) as pool,
        tqdm(total=len(sources), desc="ingest", unit="file", disable=None) as bar,
    ):
        for start in range(0, len(sources), BATCH_FILES):
            batch = sources[start : start + BATCH_FILES]
            for examined in pool.map(lambda source: examine(source, canonical, key, known), batch):
                bar.update()
                yield examined


def _header_columns(image: Decoded, key: bytes) -> dict[str, Any]:
    """What the file itself says; after this function the patient's number is only a hash."""
    height, width = image.pixels.shape
    names = {field.name for field in dataclasses.fields(image)} & set(COLUMNS)
    return {
        **{name: getattr(image, name) for name in names},
        "width": width,
        "height": height,
        "patient": patients.hashed(image.patient, key),
    }


def _pixel_sha256(image: Pixels) -> str:
    """The hash of the shape as text and the gray values, row by row."""
    digest = hashlib.sha256(f"{image.shape[0]}x{image.shape[1]}:".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _is_unknown(value: Any) -> bool:
    return bool(value == "" or value != value)


def _check_classes(frame: pd.DataFrame, listing: Listing) -> None:
    """Refuse a class without any usable image: it would vanish from everything that follows."""
    usable = set(frame.loc[frame["pixel_row"] >= 0, "label"])
    empty = [name for name in listing.classes if name not in usable]
    if empty:
        reasons = sorted(set(frame["reason"]) - {""})[:3]
        raise source_files.FolderError(
            f"{listing.shown} has no usable image in {', '.join(empty)}"
            + (f" (rejected: {'; '.join(reasons)})" if reasons else "")
            + ": add images, or leave the class out"
        )
