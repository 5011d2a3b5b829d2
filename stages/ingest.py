"""Source files -> the records table and the canonical pixels, each file decoded once.

python -m stages.ingest --images FOLDER --records-out RECORDS.csv --pixels-out PIXELS.npy

FOLDER has one sub-folder a class. Every file in it has a row in RECORDS.csv: used, quarantined
(the same picture stands under several labels), or rejected with the reason.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from stages import params
from stages.radiographs import duplicates, examination, files, grouping, intake, patients
from stages.radiographs.records import write_records

USER_ERRORS = (
    params.ParamsError,
    files.FolderError,
    patients.PatternError,
    duplicates.LineageError,
)
log = logging.getLogger(__name__)


def run(settings: params.Params, *, images_in: Path, records_out: Path, pixels_out: Path) -> None:
    """Take in every file below `images_in`."""
    ingest = settings.ingest
    pattern = patients.compile_pattern(settings.data.patient_pattern)
    lineage = duplicates.compile_patterns(ingest.lineage_patterns)
    canonical = examination.Canonical(
        ingest.image_size_pixels, ingest.fit, ingest.maximum_megapixels
    )
    same = grouping.SamePicture(ingest.hash_radius_bits, ingest.copy_correlation, lineage)
    frame, prints = intake.take_in(images_in, settings.data.classes, canonical, pixels_out)
    frame = intake.add_patients(frame, pattern, patients.key_from_environment())
    frame = grouping.add_pictures(frame, prints, same)
    if ingest.conflicts == "quarantine":
        frame = grouping.quarantine(frame)
    write_records(frame, records_out)
    counts = ", ".join(f"{count} {name}" for name, count in frame["status"].value_counts().items())
    log.info("%d files: %s; %d pictures", len(frame), counts, frame["picture"].max() + 1)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--records-out", type=Path, required=True)
    parser.add_argument("--pixels-out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        run(
            params.load(arguments.params),
            images_in=arguments.images,
            records_out=arguments.records_out,
            pixels_out=arguments.pixels_out,
        )
    except USER_ERRORS as error:
        sys.stderr.write(f"ingest: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
