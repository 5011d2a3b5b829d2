"""Check the records against Great Expectations suites; bad data stops the pipeline here.

FOLDER/index.html is the report for people. The exit status is 1 where an expectation fails.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pandas as pd

from knee.records import records_table
from knee.run import command, parameters
from knee.storage import artifacts
from knee.validation import records_suite, suites

SHOWN = 20  # reasons in the log
LONGEST = 60  # letters of a reason in the log
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage reads and writes."""

    records: Path = command.flag("records table of ingest")
    metrics_out: Path = command.flag("JSON file of the figures")
    docs_out: Path = command.flag("folder of the report; index.html is its first page")


def run(settings: parameters.Params, paths: Paths) -> None:
    """Check `records`; write the figures first, then fail if an expectation does."""
    table, asked = records_table.read_records(paths.records), settings.validate
    limits = records_suite.Thresholds(
        minimum_images_per_class=asked.minimum_images_per_class,
        maximum_rejected_share=asked.maximum_rejected_share,
        maximum_quarantined_share=asked.maximum_quarantined_share,
        maximum_conflicting_share=asked.maximum_conflicting_share,
        maximum_patient_share=asked.maximum_patient_share,
        maximum_noted_share=asked.maximum_noted_share,
    )
    with artifacts.staged_folder(paths.docs_out) as docs:
        outcomes = records_suite.check(table, limits, docs)
    facts = {
        "success": all(outcome["success"] for outcome in outcomes),
        "synthetic": settings.data.synthetic,
        **records_suite.counts(table),
        **suites.summary(outcomes),
    }
    artifacts.write_json(paths.metrics_out, facts)
    _log_set_aside(table)
    report = f"{paths.docs_out}/index.html"
    remedy = f"Mend the data, or the thresholds in conf/config.yaml. Report: {report}"
    suites.require_success(outcomes, remedy)
    log.info("all %d expectations met: report in %s", len(outcomes), report)


def _log_set_aside(table: pd.DataFrame) -> None:
    """A table of why files are not used, rejected ones first."""
    found = records_table.reasons(table)
    if found:
        log.info("%-12s %6s  %-*s  %s", "set aside", "files", LONGEST, "reason", "for example")
    for one in found[:SHOWN]:
        why = ascii(one.reason)[1:-1]
        why = why if len(why) <= LONGEST else f"{why[: LONGEST - 3]}..."
        examples = ", ".join(ascii(name)[1:-1] for name in one.examples)
        log.info("%-12s %6d  %-*s  %s", one.status, one.count, LONGEST, why, examples)
    if len(found) > SHOWN:
        more = sum(one.count for one in found[SHOWN:])
        log.info("and %d files more for %d other reasons: see the report", more, len(found) - SHOWN)


main = command.stage("validate", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
