r"""Cut whole films into images of one knee each: bilateral views, long legs, exports of an archive.

python -m stages.locate FILMS --out FOLDER [--sheet SHEET.csv]

Each joint comes at the same scale in a square of its own; a film of one knee that is hardly larger
than that stays as it is. Of two knees the film's left one is the patient's right. FILMS is a folder
or an archive of one. What it writes:
    images/    a PNG a knee, below the film's own folder (its class)
    knees.csv  the sheet of these files: side, patient as pseudonym, what the sheet tells of each
               knee (label_left, label_right or a row a side), its box on the film
    films.csv  every film: how many knees, by what their squares have their size, what is doubtful,
               or why it has none
    films.png  some of the films, with the boxes: look at it

With locate=knees (make films LOCATE=1) it is a stage, and ingest reads its images and sheet.
docs/data.md says how often the search is right, and where it is not.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from knee.drawing import contact_sheets
from knee.intake import archives, patients
from knee.location import film_files, film_labels
from knee.reading import source_files
from knee.reading.canonical_image import DicomRule
from knee.run import command, parameters
from knee.run.errors import UserError
from knee.storage import artifacts

SHEET, FILMS, PICTURE = "knees.csv", "films.csv", "films.png"
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Options:
    """The command line."""

    params: Path
    films: Path
    out: Path
    sheet: Path | None
    box_widths: float | None
    box_millimetres: float | None
    patient_key: Path | None


def run(chosen: Options) -> int:
    """Cut every film; 1 if none has a knee."""
    out = chosen.out
    if not chosen.films.exists():
        raise UserError(f"{chosen.films} does not exist: give the folder of films, or its archive")
    if out.exists() and not (out / FILMS).is_file():
        raise UserError(f"{out} is there already, and not from this command: give another --out")
    if out.resolve().is_relative_to(chosen.films.resolve()):
        raise UserError(f"{out} lies in {chosen.films}, whose films it cuts: give another --out")
    for read in filter(None, (chosen.films, chosen.sheet)):
        if read.resolve().is_relative_to(out.resolve()):
            raise UserError(f"{read} lies in {out}, which is replaced: give another --out")
    settings = _settings(chosen)
    ingest, kept = settings.ingest, (*settings.data.classes, *settings.data.parts)
    cutting = _cutting(chosen, settings)
    sheet = film_labels.read(chosen.sheet) if chosen.sheet else None
    limits = archives.ArchiveLimits(ingest.maximum_archive_files, ingest.maximum_archive_gigabytes)
    flat = bool(sheet and sheet.label_column)
    with archives.opened(chosen.films, limits, kept, flat=flat) as opened:
        sources = source_files.list_sources(opened.folder, labelled=False)
        if not sources:
            raise UserError(f"{chosen.films} has no file")
        names = [one.name for one in sources]
        labels = sheet.of(names, opened.top) if sheet else film_labels.FilmLabels()
        with artifacts.staged_folder(out) as staged:
            cut = film_files.few_shown(film_files.cut_all(sources, labels, staged, cutting))
            _write(cut, staged)
    return _told(cut, out)


def _settings(chosen: Options) -> parameters.Params:
    """The parameters; the command line's size of the box counts more than theirs."""
    flags = {"box_widths": chosen.box_widths, "box_millimetres": chosen.box_millimetres}
    given = {name: value for name, value in flags.items() if value is not None}
    return parameters.with_values(parameters.load(chosen.params), "locate", given)


def _cutting(chosen: Options, settings: parameters.Params) -> film_files.Cutting:
    """How films are cut."""
    key = patients.key_from_environment()
    if chosen.patient_key:
        patients.check_key(chosen.patient_key, key)
    return film_files.Cutting(
        settings.locate.box_widths,
        settings.ingest.maximum_megapixels,
        key,
        settings.data.patient_placeholders,
        DicomRule.of(settings.ingest),
        settings.locate.box_millimetres,
    )


def _write(cut: Sequence[film_files.CutFilm], staged: Path) -> None:
    """Write the tables and the picture beside the images of the knees."""
    films = pd.DataFrame([one.film for one in cut])
    (staged / FILMS).write_text(artifacts.as_csv(films), encoding="utf-8")
    (staged / SHEET).write_text(artifacts.as_csv(film_files.sheet(cut)), encoding="utf-8")
    _draw(cut, staged / PICTURE)


def _told(cut: Sequence[film_files.CutFilm], out: Path) -> int:
    """Log what became of the films; return the exit status."""
    for reason, count in Counter(one.film["reason"] for one in cut).items():
        if reason:
            log.warning("%d of %d films are left out: %s", count, len(cut), reason)
    scales = Counter(one.film[film_files.SCALE] for one in cut if one.film["knees"])
    if scales:
        told = (f"{scale} {count}" for scale, count in sorted(scales.items()))
        log.info("films by the scale of their squares: %s", ", ".join(told))
    found = Counter(one.film["knees"] for one in cut)
    log.info("%d films of one knee, %d of two; look at %s", found[1], found[2], out / PICTURE)
    if found[1] + found[2]:
        return 0
    log.error("no film gave an image of a knee: the reasons are in %s", out / FILMS)
    return 1


def _draw(cut: Sequence[film_files.CutFilm], out: Path) -> None:
    shown = ((number, one.shown, one.boxes) for number, one in enumerate(cut))
    films = [(number, pixels, boxes) for number, pixels, boxes in shown if pixels is not None]
    title = f"{len(films)} of {len(cut)} films"
    contact_sheets.located_films(films, title, "numbers: rows of films.csv, from 0", out)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = command.parser(__doc__)
    parser.add_argument(
        "films", type=Path, metavar="FILMS", help="folder of films, or a zip or tar of one"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--sheet", type=Path, help="sheet of the films, CSV or .xlsx; conf/no_sheet.csv: none"
    )
    parser.add_argument(
        "--box-widths",
        type=float,
        help="side of a knee's square, in widths of the joint; 1.84 is 140 mm of an average knee; "
        "default: locate.box_widths",
    )
    parser.add_argument(
        "--box-millimetres",
        type=float,
        help="side of the square where a DICOM film tells its pixel spacing; 0: by the joint's "
        "width there, too; default: locate.box_millimetres",
    )
    parser.add_argument(
        "--patient-key", type=Path, help="output of check: stop where KNEE_PATIENT_KEY is another"
    )
    chosen = Options(**vars(parser.parse_args(argv)))

    def work() -> int:
        with command.alone("locate", chosen.out):
            return run(chosen)

    return command.exit_status("locate", work)


if __name__ == "__main__":
    raise SystemExit(main())
