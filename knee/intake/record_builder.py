"""Source files to the records table, the canonical pixels and fingerprints."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import pandas as pd

from knee.copies.fingerprints import FingerprintFile
from knee.intake import patient_remarks, patients
from knee.intake.examination import UNKNOWN, Examiner
from knee.intake.labels import Listing
from knee.reading import image_formats, negatives, prepare, source_files
from knee.reading.canonical_image import Canonical
from knee.reading.source_files import SourceFile
from knee.records.records_table import COLUMNS
from knee.storage import row_files

# What a sheet, a DICOM header or a file's name may tell.
FACTS: Final = ("patient", "side", "origin", "sex", "age_years", "t_score")
INVERTED: Final = "polarity: a photographic negative, its gray values were inverted"
log = logging.getLogger(__name__)


def take_in(
    listing: Listing, examiner: Examiner, pixels_out: Path, *, invert_negatives: bool = False
) -> tuple[pd.DataFrame, FingerprintFile]:
    """Read every file of `listing` once, write its canonical pixels to `pixels_out`.

    With `invert_negatives` the canonical pixels of photographic negatives are those of the upright
    image, and their notes say so; fingerprints are of what the file shows. `FolderError` if a class
    has no usable image.

    Returns:
        The records table with the facts of the files' own headers, without copy groups and patient
        groups yet (-1), and the fingerprints of the rows with pixels, in order of pixel_row.
    """
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    canonical = examiner.canonical
    pixels_out.parent.mkdir(parents=True, exist_ok=True)
    fingerprints = FingerprintFile(pixels_out.parent)  # their images need half as much disk or less
    with row_files.written_rows(pixels_out, 2 * (canonical.side_pixels,), np.uint8) as array:
        for number, examined in enumerate(examiner.examine_all(listing.sources)):
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
