"""Write the page on which a person decides about doubtful labels.

PAGE names files, so it stays on this machine. What it saves goes to data.decisions, which ingest
applies; this command changes nothing.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from knee.audit import shortcut_scores, shortcuts
from knee.audit.audit_pictures import Thumbnails
from knee.audit.audit_report import MEGABYTE
from knee.evidence.comparison.predictor_names import called
from knee.evidence.evaluation import predictions
from knee.evidence.review import cards, confident_learning, review_page
from knee.evidence.review.cards import Doubt
from knee.intake import label_decisions
from knee.records import file_names, records_table
from knee.run import command, parameters
from knee.storage import artifacts, row_files
from knee.storage.arrays import PixelRows

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage reads and writes."""

    records: Path = command.flag("records table of ingest")
    pixels: Path = command.flag("canonical pixels of ingest")
    joins: Path = command.flag("pairs of records that ingest joined by their look")
    decisions: Path = command.flag("earlier decisions, those that ingest applied")
    metrics: Path = command.flag("folder with the out-of-fold predictions of each backbone")
    page_out: Path = command.flag("HTML page, in the folder of all reports")


def run(settings: parameters.Params, paths: Paths) -> None:
    """Write `page_out`: label conflicts, suspected labels, weakest joins, earlier decisions."""
    asked, table = settings.review, records_table.read_records(paths.records)
    patterns = file_names.patterns_of(settings.ingest)
    originals = file_names.originals(table["source"].tolist(), patterns)
    images = table.assign(derived=~originals)
    images = images[images["pixel_row"] >= 0].reset_index(drop=True)
    classes = records_table.class_names(table)
    pixels = row_files.PixelFile(paths.pixels, images["pixel_row"].to_numpy())
    tables = _out_of_fold(paths.metrics, settings.model.backbones)
    doubts, predicted = _doubts(settings, images, pixels, [*tables.values()], classes)
    joins = pd.read_csv(paths.joins)
    decisions = label_decisions.read_decisions(paths.decisions).rows
    thumbnails = Thumbnails(pixels, asked.thumbnail_pixels, int(asked.report_megabytes * MEGABYTE))
    found = cards.sections(
        cards.Subject(images, joins, doubts, decisions),
        cards.Limits(
            asked.conflicts_shown, asked.suspects_shown, asked.joins_shown, asked.images_shown
        ),
        thumbnails,
    )
    page = review_page.page(
        found,
        classes,
        dict(zip(images["record"], images["source"], strict=True)),
        data_set=settings.data.name,
        synthetic=settings.data.synthetic,
        digest=cards.digest(images),
        models=[called(name) for name in tables],
        predicted=predicted,
        left_out=thumbnails.left_out,
    )
    artifacts.write_text(paths.page_out, page)
    for section in found:
        log.info("%-8s %d", section.kind, section.total)
    log.info("labels to review in %s", paths.page_out)


def _out_of_fold(metrics: Path, backbones: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The out-of-fold predictions of each backbone that was cross-validated."""
    files = {name: metrics / name / "out_of_fold.csv" for name in backbones}
    tables = {
        name: predictions.read_predictions(artifacts.read_bytes(file))
        for name, file in files.items()
    }
    return {name: one for name, one in tables.items() if len(one)}


def _doubts(
    settings: parameters.Params,
    images: pd.DataFrame,
    pixels: PixelRows,
    tables: Sequence[pd.DataFrame],
    classes: Sequence[str],
) -> tuple[dict[int, Doubt], int]:
    """Suspected labels by record, the most doubtful first, and how many records were predicted.

    What the outer ring alone says of the same records comes from folds of its own.
    """
    if not tables:
        return {}, 0
    mean = confident_learning.mean_predictions(tables, classes)
    labels = mean["class_index"].to_numpy(np.int64)
    probabilities = predictions.probabilities_of(mean, classes)
    found = confident_learning.suspicions(labels, probabilities)
    rows = images.set_index("record").loc[mean["record"]]
    ring, _ = shortcuts.ring_and_whole(pixels, rows["pixel_row"].to_numpy())
    votes = shortcut_scores.out_of_fold_votes(
        shortcuts.Shortcut(ring, shortcuts.linear),
        shortcut_scores.Labelled(labels, rows["group"].to_numpy(np.int64), classes),
        folds=settings.audit.folds,
        repeats=settings.audit.repeats,
        seed=settings.audit.seed,
    )
    doubts = {
        int(rows.index[row]): Doubt(
            label=float(probabilities[row, labels[row]]),
            suggested=classes[found.suggested[row]],
            probability=float(probabilities[row, found.suggested[row]]),
            ring=classes[votes[row]] if votes[row] >= 0 else "",
        )
        for row in found.ranked()
    }
    return doubts, len(mean)


main = command.stage("review", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
