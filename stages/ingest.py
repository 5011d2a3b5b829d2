"""Source files -> the records table and the canonical pixels, each file read once.

PATH is a folder, or a zip or tar of one. Classes are its sub-folders, or come from SHEET (CSV or
.xlsx; conf/no_sheet.csv is none). Every file has a row in the table: used, quarantined (the same
radiograph stands under several labels, or a reviewer excluded it), or rejected with the reason.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from knee.copies import copy_check, copy_groups
from knee.copies.fingerprints import FingerprintFile
from knee.execution import processes
from knee.execution.local import Threads
from knee.execution.opening import Opened
from knee.execution.place import Place
from knee.intake import (
    archives,
    examination,
    label_decisions,
    label_sheet,
    labels,
    manifest,
    patient_remarks,
    patients,
    record_builder,
)
from knee.intake.examination import Examiner
from knee.intake.labels import Listing
from knee.reading.canonical_image import Canonical, DicomRule
from knee.records import conflicts, file_names
from knee.records.records_table import notes, write_records
from knee.run import command, parameters
from knee.storage import artifacts
from knee.storage.known_results import KnownResults

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage reads and writes."""

    images: Path = command.flag("folder of images, or a zip or tar of one")
    sheet: Path = command.flag("label sheet, CSV or .xlsx; conf/no_sheet.csv: none")
    records_out: Path = command.flag("records table, CSV, one row a file")
    pixels_out: Path = command.flag("folder of canonical pixels, in shards")
    known_results: Path | None = command.optional_flag(
        "folder of what an earlier run computed, which may be removed; none: nothing is kept"
    )
    patient_key: tuple[Path, ...] = command.repeated_flag(
        "output of check: stop where KNEE_PATIENT_KEY is another", Path
    )
    joins_out: Path | None = command.optional_flag(
        "pairs of records that were joined as copies by their look, CSV; none: it is not written"
    )
    manifest: Path | None = command.optional_flag(
        "manifest of the folder, by which every file is checked; none or IMAGES itself: none is"
    )
    decisions: Path | None = command.optional_flag(
        "decisions of a reviewer about labels; none or conf/no_decisions.csv: no label is changed"
    )


def run(settings: parameters.Params, paths: Paths) -> None:
    """Take in every file of `images`."""
    data, ingest = settings.data, settings.ingest
    key = patients.key_from_environment()
    for file in paths.patient_key:
        patients.check_key(file, key)
    decided = label_decisions.read_decisions(paths.decisions) if paths.decisions else None
    with Opened(settings.execution, examination.trial, Threads) as place_of:
        listing, frame, fingerprints = _taken_in(settings, paths, key, place_of)
        frame = record_builder.add_facts(
            frame,
            listing.facts,
            data.patient_pattern,
            data.origin_pattern,
            key,
            {patients.hashed(text, key, from_zero=True) for text in data.patient_placeholders},
        )
        with (
            opened_results(paths.known_results, "registrations", {}) as known,
            _place_of_many_pairs(settings.execution) as place_of_many,
        ):
            registrar = copy_check.Registrar(known, place_of, place_of_many)
            lineage = file_names.patterns_of(ingest)
            frame, joins = copy_groups.add_groups(
                frame, fingerprints, search(ingest), lineage, registrar
            )
    if decided:
        frame = label_decisions.apply(frame, decided, listing.classes)
    frame = conflicts.resolve(frame, ingest.conflicts)
    if paths.joins_out:
        artifacts.write_text(paths.joins_out, joins.to_csv(index=False))
    write_records(frame, paths.records_out)
    counts = ", ".join(f"{count} {name}" for name, count in frame["status"].value_counts().items())
    for note, count in notes(frame).items():
        log.warning("%d images: %s (column note of the records)", count, note)
    for remark in patient_remarks.remarks(frame[frame["pixel_row"] >= 0], data.patient_pattern):
        log.warning("%s", remark)
    log.info("%d files: %s; %d copy groups", len(frame), counts, frame["picture"].max() + 1)


def _place_of_many_pairs(
    execution: parameters.Execution,
) -> contextlib.AbstractContextManager[Callable[[], Place] | None]:
    """Processes of this machine: threads that make small arrays wait for each other."""
    count = processes.count(execution, copy_check.PROCESS_BYTES)
    if execution.engine != "local" or count < 2:
        return contextlib.nullcontext()
    local = functools.partial(processes.Processes, count, execution.retries)
    return Opened(execution, copy_check.trial, local)


def _taken_in(
    settings: parameters.Params, paths: Paths, key: bytes, place_of: Callable[[], Place]
) -> tuple[Listing, pd.DataFrame, FingerprintFile]:
    """Read every file of `images`: what was found, its records, and the fingerprints."""
    data, ingest = settings.data, settings.ingest
    canonical = Canonical(
        ingest.image_size_pixels,
        ingest.fit,
        ingest.maximum_megapixels,
        ingest.crop_borders,
        dicom=DicomRule.of(ingest),
    )
    facts = {"patient_key": patients.key_check(key), "image": dataclasses.asdict(canonical)}
    limits = archives.ArchiveLimits(ingest.maximum_archive_files, ingest.maximum_archive_gigabytes)
    sheet = label_sheet.read_sheet(paths.sheet, data.classes, key)
    named = (*data.classes, *data.parts)
    with archives.opened(paths.images, limits, named, flat=sheet.labelled) as opened:
        listing = labels.list_labelled(opened, sheet, data.classes, data.parts)
        labels.check_classes(listing)
        if paths.manifest and paths.manifest != paths.images:
            sources = manifest.checked(listing.sources, paths.images, paths.manifest)
            listing = dataclasses.replace(listing, sources=sources)
        nodes_of = place_of if settings.execution.nodes_have_files else None
        with opened_results(paths.known_results, "images", facts) as known:
            frame, fingerprints = record_builder.take_in(
                listing,
                Examiner(canonical, key, known, nodes_of),
                paths.pixels_out,
                invert_negatives=ingest.negatives == "invert",
            )
    return listing, frame, fingerprints


def opened_results(
    folder: Path | None, kind: str, facts: Mapping[str, Any]
) -> contextlib.AbstractContextManager[KnownResults | None]:
    """Open what an earlier run computed of a kind, where there is a folder for it."""
    return KnownResults(folder / kind, facts) if folder else contextlib.nullcontext()


def search(ingest: parameters.Ingest) -> copy_groups.CopySearch:
    """Return the settings of the search for copies, by the section `ingest` of the parameters."""
    return copy_groups.CopySearch(
        ingest.hash_radius_bits,
        ingest.look_alikes,
        ingest.look_alike_correlation,
        ingest.turned_search_images,
        copy_check.CopyThresholds(
            ingest.copy_correlation,
            ingest.local_correlation,
            ingest.copy_overlap,
            ingest.marked_copy_correlation,
            ingest.marked_local_correlation,
        ),
        ingest.member_slack,
    )


main = command.stage("ingest", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
