"""Check the records against Great Expectations suites; bad data stops the pipeline here.

python -m stages.validate --records RECORDS.csv --metrics-out VALIDATION.json --docs-out FOLDER

FOLDER/index.html is the report for people. The exit status is 1 where an expectation fails.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stages import params
from stages.radiographs import artifacts, expectations, records

SHOWN = 20  # rejected files in the log
log = logging.getLogger(__name__)


class ValidationError(ValueError):
    """The data fail an expectation."""


def run(settings: params.Params, *, records_in: Path, metrics_out: Path, docs_out: Path) -> None:
    """Check `records_in`; write the figures first, then fail if an expectation does."""
    table = records.read_records(records_in)
    limits = expectations.Thresholds(**params.as_dictionary(settings.validate))
    with artifacts.staged_folder(docs_out) as docs:
        outcomes = expectations.check(table, limits, docs)
    failed = [outcome for outcome in outcomes if not outcome["success"]]
    facts = {
        "success": not failed,
        "synthetic": settings.data.synthetic,
        **expectations.counts(table),
        "expectations": {"evaluated": len(outcomes), "failed": len(failed)},
        "failed": [{k: v for k, v in one.items() if k != "success"} for one in failed],
    }
    artifacts.write_json(metrics_out, facts)
    _log_rejected(table)
    if failed:
        raise ValidationError(_complaint(failed, docs_out))
    log.info("all %d expectations met: report in %s/index.html", len(outcomes), docs_out)


def _log_rejected(table: pd.DataFrame) -> None:
    rejected = table[table["status"] == records.REJECTED]
    for row in rejected.head(SHOWN).itertuples():
        log.info("rejected  %-40s %s", ascii(row.source)[1:-1], row.reason)
    if len(rejected) > SHOWN:
        log.info("rejected  and %d more: see the column reason", len(rejected) - SHOWN)


def _complaint(failed: list[dict[str, Any]], docs: Path) -> str:
    lines = [f"{len(failed)} expectations failed; nothing downstream is run:"]
    for one in failed:
        examples = "; ".join(ascii(example)[1:-1] for example in one["examples"])
        named = f" (for example {examples})" if examples else ""
        lines.append(f"  not true: {one['expectation']}{named}")
    lines.append(f"Mend the data, or the thresholds in conf/config.yaml. Report: {docs}/index.html")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--records", type=Path, required=True, dest="records_in")
    parser.add_argument("--metrics-out", type=Path, required=True)
    parser.add_argument("--docs-out", type=Path, required=True)
    paths = vars(parser.parse_args(argv))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    try:
        run(params.load(paths.pop("params")), **paths)
    except (params.ParamsError, records.RecordsError, ValidationError) as error:
        sys.stderr.write(f"validate: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
