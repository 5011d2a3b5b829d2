r"""Audit the data: copies, conflicts, leakage, and what predicts the label without being bone.

python -m stages.audit --records RECORDS.csv --pixels PIXELS.npy --split SPLIT.csv \
    --audit-out AUDIT.json --shortcuts-out SHORTCUTS.json --report-out AUDIT.html \
    --public-report-out PUBLIC.html

AUDIT.json has what fits DVC's table, SHORTCUTS.json all about the shortcuts. AUDIT.html has file
names and stays on this machine; PUBLIC.html has none and goes to MLflow.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from knee.audit import audit_facts, audit_report, shortcut_scores
from knee.records import file_names, records_table
from knee.run import command, parameters
from knee.splits import split_table
from knee.storage import artifacts, row_files

ERRORS = (
    records_table.RecordsError,
    split_table.SplitError,
    file_names.PatternError,
    artifacts.ArtifactError,
)
log = logging.getLogger(__name__)


def run(
    settings: parameters.Params,
    *,
    records_in: Path,
    pixels_in: Path,
    split_in: Path,
    audit_out: Path,
    shortcuts_out: Path,
    report_out: Path,
    public_report_out: Path,
) -> None:
    """Audit `records_in` by `settings.audit`."""
    asked = settings.audit
    table, split = records_table.read_records(records_in), split_table.read_split(split_in)
    pixels = row_files.read_pixels(
        pixels_in, table.loc[table["pixel_row"] >= 0, "pixel_row"].to_numpy()
    )
    patterns = file_names.compile_patterns(
        settings.ingest.lineage_patterns, settings.ingest.copy_patterns
    )
    originals = audit_facts.originals(table, patterns)
    kept = split_table.one_a_picture(table, originals)
    protocol = shortcut_scores.Protocol(
        folds=asked.folds,
        repeats=asked.repeats,
        permutations=asked.permutations,
        alarm_level=asked.alarm_level,
        draws=asked.bootstrap_draws,
        level=asked.interval_level,
        seed=asked.seed,
    )
    facts = {
        **audit_facts.facts(
            table,
            split,
            patterns,
            split_protocol=settings.split.protocol,
            synthetic=settings.data.synthetic,
        ),
        **audit_facts.shortcut_facts(table, split, pixels, kept, protocol, asked.most_pictures),
    }
    subject = audit_report.Subject(
        table, originals, kept, pixels, facts, asked.interval_level, asked.alarm_level, asked.seed
    )
    limits = audit_report.Limits(
        conflicts=asked.conflicts_shown,
        groups=asked.groups_shown,
        films=asked.films_shown,
        thumbnail_pixels=asked.thumbnail_pixels,
        megabytes=asked.report_megabytes,
    )
    report, public = audit_report.pages(subject, limits)
    artifacts.write_json(audit_out, audit_facts.headline(facts))
    artifacts.write_json(shortcuts_out, audit_facts.shortcut_details(facts))
    artifacts.write_text(report_out, report)
    artifacts.write_text(public_report_out, public)
    _log(facts, report_out)


def _log(facts: Mapping[str, Any], report: Path) -> None:
    log.info(
        "%(records)d files, %(pictures)d pictures, %(conflicting_pictures)d under several labels",
        facts,
    )
    random, in_use = facts["leakage"]["random"], facts["leakage"]["in_use"]
    if random is not None:
        log.info("leakage: random split %.1f %%, split in use %.1f %%", 100 * random, 100 * in_use)
    for name, figures in facts["shortcuts"].items():
        if figures["balanced_accuracy"] is not None:
            verdict = "ABOVE CHANCE" if figures["alarm"] else ""
            text = "%-18s balanced accuracy %.3f (chance %.3f)  p %.3f  %s"
            chance = facts["chance"]
            log.info(text, name, figures["balanced_accuracy"], chance, figures["p_value"], verdict)
    log.info("report in %s", report)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run the stage."""
    parser = command.parser(__doc__)
    parser.add_argument("--records", type=Path, required=True, dest="records_in")
    parser.add_argument("--pixels", type=Path, required=True, dest="pixels_in")
    parser.add_argument("--split", type=Path, required=True, dest="split_in")
    parser.add_argument("--audit-out", type=Path, required=True)
    parser.add_argument("--shortcuts-out", type=Path, required=True)
    parser.add_argument("--report-out", type=Path, required=True)
    parser.add_argument("--public-report-out", type=Path, required=True)
    return command.run("audit", parser.parse_args(argv), command.by_keyword(run), ERRORS)


if __name__ == "__main__":
    raise SystemExit(main())
