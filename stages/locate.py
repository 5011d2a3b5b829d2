r"""Cut whole films into images of one knee each: bilateral views, long legs, exports of an archive.

python -m stages.locate FOLDER --out FOLDER [--sheet SHEET.csv]

Each joint comes at the same scale in a square of its own; a film of one knee that is hardly larger
than that stays as it is. Of two knees the film's left one is the patient's right. What it writes:
    images/    a PNG a knee, below the film's own folder (its class), for data.path
    knees.csv  the sheet of these files, for data.sheet: side, patient as pseudonym, what the sheet
               tells of each knee (label_left, label_right or a row a side), its box on the film
    films.csv  every film: how many knees, what is doubtful, or why it has none
    films.png  some of the films, with the boxes: look at it

docs/data.md says how often the search is right, and where it is not.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from knee.drawing import contact_sheets
from knee.intake import patients
from knee.location import cropping, film_files, film_labels
from knee.reading import source_files
from knee.run import command, parameters
from knee.run.errors import UserError
from knee.storage import artifacts

SHEET, FILMS, PICTURE = "knees.csv", "films.csv", "films.png"
SHOWN, SEED = 100, 42  # films in the picture, and of their choice
log = logging.getLogger(__name__)


def run(films: Path, out: Path, sheet: Path | None, cutting: film_files.Cutting) -> int:
    """Cut every film below `films`; 1 if none has a knee."""
    if out.exists() and not (out / FILMS).is_file():
        raise UserError(f"{out} is there already, and not from this command: give another --out")
    sources = source_files.list_sources(films, labelled=False)
    if not sources:
        raise UserError(f"{films} has no file")
    labels = film_labels.read(sheet, [one.name for one in sources]) if sheet else None
    with artifacts.staged_folder(out) as staged:
        cut = list(film_files.cut_all(sources, labels, staged, cutting))
        table = pd.DataFrame([one.film for one in cut])
        (staged / FILMS).write_text(artifacts.as_csv(table), encoding="utf-8")
        (staged / SHEET).write_text(artifacts.as_csv(film_files.sheet(cut)), encoding="utf-8")
        _draw(cut, staged / PICTURE)
    for reason, count in Counter(table["reason"]).items():
        if reason:
            log.warning("%d of %d films are left out: %s", count, len(table), reason)
    found = Counter(table["knees"].tolist())
    log.info("%d films of one knee, %d of two; look at %s", found[1], found[2], out / PICTURE)
    log.info("to take them in: data.path=%s data.sheet=%s", out / film_files.IMAGES, out / SHEET)
    return 0 if found[1] + found[2] else 1


def _draw(cut: Sequence[film_files.CutFilm], out: Path) -> None:
    numbers = [number for number, one in enumerate(cut) if one.shown is not None]
    chosen = sorted(random.Random(SEED).sample(numbers, min(SHOWN, len(numbers))))  # noqa: S311
    films = [
        (number, one.shown, one.boxes)
        for number, one in ((number, cut[number]) for number in chosen)
        if one.shown is not None
    ]
    title = f"{len(films)} of {len(cut)} films"
    contact_sheets.located_films(films, title, "numbers: rows of films.csv, from 0", out)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = command.parser(__doc__)
    parser.add_argument("films", type=Path, metavar="FOLDER", help="folder of films")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--sheet", type=Path, help="sheet of the films, CSV or .xlsx")
    parser.add_argument(
        "--box-widths",
        type=float,
        default=round(cropping.BOX_WIDTHS, 2),
        help="side of a knee's square, in widths of the joint; 1.84 is 140 mm of an average knee",
    )
    given = parser.parse_args(argv)

    def work() -> int:
        if not 1 <= given.box_widths <= 6:
            raise UserError(f"--box-widths {given.box_widths:g}: give 1 to 6")
        limit = parameters.load(given.params).ingest.maximum_megapixels
        cutting = film_files.Cutting(given.box_widths, limit, patients.key_from_environment())
        return run(given.films, given.out, given.sheet, cutting)

    return command.exit_status("locate", work)


if __name__ == "__main__":
    raise SystemExit(main())
