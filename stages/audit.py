"""Audit the data: copies, conflicts, leakage, and what predicts the label without being bone.

AUDIT.json has what fits DVC's table, SHORTCUTS.json all about the shortcuts. AUDIT.html has file
names and stays on this machine; PUBLIC.html has none and goes to MLflow.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from knee.audit import audit_facts, audit_report, shortcut_scores
from knee.records import file_names, known_patients, records_table
from knee.run import command, parameters
from knee.splits import split_table
from knee.statistics.bootstrap import Bootstrap
from knee.storage import artifacts, row_files

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage reads and writes."""

    records: Path = command.flag("records table of ingest")
    pixels: Path = command.flag("canonical pixels of ingest")
    split: Path = command.flag("split table of split")
    audit_out: Path = command.flag("JSON file of what fits DVC's table")
    shortcuts_out: Path = command.flag("JSON file of all about the shortcuts")
    report_out: Path = command.flag("HTML report with file names: stays on this machine")
    public_report_out: Path = command.flag("HTML report without file names: goes to MLflow")


def run(settings: parameters.Params, paths: Paths) -> None:
    """Audit `records` by `settings.audit`."""
    asked = settings.audit
    table, split = records_table.read_records(paths.records), split_table.read_split(paths.split)
    pixels = row_files.PixelFile(
        paths.pixels, table.loc[table["pixel_row"] >= 0, "pixel_row"].to_numpy()
    )
    patterns = file_names.patterns_of(settings.ingest)
    originals = file_names.originals(table["source"].tolist(), patterns)
    kept = split_table.one_of_each_copy_group(table, originals)
    bootstrap = Bootstrap(asked.bootstrap_draws, asked.interval_level, asked.seed)
    protocol = shortcut_scores.ShortcutProtocol(
        asked.folds, asked.repeats, asked.permutations, asked.alarm_level, asked.seed, bootstrap
    )
    facts = {
        "synthetic": settings.data.synthetic,
        "split_protocol": settings.split.protocol,
        **audit_facts.facts(table, split, patterns),
        **audit_facts.shortcut_facts(table, split, pixels, kept, protocol, asked.most_pictures),
    }
    subject = audit_report.Subject(
        table,
        originals,
        kept,
        pixels,
        facts,
        level=asked.interval_level,
        alarm_level=asked.alarm_level,
        seed=asked.seed,
        data_set=settings.data.name,
        path=settings.data.path,
        date=datetime.date.today().isoformat(),
    )
    limits = audit_report.Limits(
        conflicts=asked.conflicts_shown,
        groups=asked.groups_shown,
        images=asked.films_shown,
        thumbnail_pixels=asked.thumbnail_pixels,
        megabytes=asked.report_megabytes,
    )
    report, public = audit_report.pages(subject, limits)
    artifacts.write_json(paths.audit_out, audit_facts.dvc_metrics(facts))
    artifacts.write_json(paths.shortcuts_out, audit_facts.shortcut_details(facts))
    artifacts.write_text(paths.report_out, report)
    artifacts.write_text(paths.public_report_out, public)
    _log(facts, paths.report_out)


def _log(facts: Mapping[str, Any], report: Path) -> None:
    log.info(
        "%(records)d files, %(pictures)d copy groups, %(conflicting_pictures)d of them under "
        "several labels",
        facts,
    )
    random, in_use = facts["leakage"]["random"], facts["leakage"]["in_use"]
    if random is not None:
        log.info("leakage: random split %.1f %%, split in use %.1f %%", 100 * random, 100 * in_use)
    if caveat := known_patients.caveat(facts["patients"]):
        log.warning("leakage is only of what is known: %s", caveat)
    for name, figures in facts["shortcuts"].items():
        if figures["balanced_accuracy"] is not None:
            verdict = "ABOVE CHANCE" if figures["alarm"] else ""
            text = "%-18s balanced accuracy %.3f (chance %.3f)  p %.3f  %s"
            chance = facts["chance"]
            log.info(text, name, figures["balanced_accuracy"], chance, figures["p_value"], verdict)
    log.info("report in %s", report)


main = command.stage("audit", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
