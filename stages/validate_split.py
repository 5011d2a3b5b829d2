"""Check the split against Great Expectations suites; a split that leaks stops the pipeline here.

FOLDER/index.html is the report for people. The exit status is 1 where an expectation fails.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from knee.records import records_table
from knee.run import command, parameters
from knee.run.errors import UserError
from knee.splits import split_table
from knee.storage import artifacts
from knee.validation import split_suite, suites

log = logging.getLogger(__name__)


class SplitValidationError(UserError):
    """The split fails an expectation."""


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage reads and writes."""

    records: Path = command.flag("records table of ingest")
    split: Path = command.flag("split table of split")
    metrics_out: Path = command.flag("JSON file of the figures")
    docs_out: Path = command.flag("folder of the report; index.html is its first page")


def run(settings: parameters.Params, paths: Paths) -> None:
    """Check `split`; write the figures first, then fail if an expectation does."""
    table, split = records_table.read_records(paths.records), split_table.read_split(paths.split)
    asked, limits = settings.split, settings.validate
    wanted = split_suite.Wanted(
        protocol=asked.protocol,
        validation_share=asked.validation_share,
        test_share=asked.test_share,
        folds=asked.folds,
        minimum_images_per_class=limits.minimum_subset_images_per_class,
        maximum_share_error=limits.maximum_share_error,
    )
    with artifacts.staged_folder(paths.docs_out) as docs:
        outcomes = split_suite.check(split, table, wanted, docs)
    facts = {
        "success": all(outcome["success"] for outcome in outcomes),
        "synthetic": settings.data.synthetic,
        "protocol": asked.protocol,
        "leaky": asked.protocol == "random",
        **split_suite.counts(split),
        **suites.summary(outcomes),
    }
    artifacts.write_json(paths.metrics_out, facts)
    remedy = (
        "Mend conf/split, or the thresholds in conf/config.yaml. "
        f"Report: {paths.docs_out}/index.html"
    )
    complaint = suites.complaint(outcomes, remedy)
    if complaint:
        raise SplitValidationError(complaint)
    left_out = len(facts["not_asked"])
    kind = f"{asked.protocol} split" + (", which is LEAKY" if facts["leaky"] else "")
    note = f"; {left_out} not asked of a {kind}" if left_out else ""
    log.info(
        "all %d expectations met%s: %s/index.html", len(outcomes) - left_out, note, paths.docs_out
    )


main = command.stage("validate_split", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
