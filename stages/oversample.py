"""Training rows, the rare classes repeated until all are as frequent; val and test stay as is.

python -m stages.oversample --records RECORDS.csv --split SPLIT.csv --rows-out TRAIN_ROWS.csv
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from knee.records import records_table
from knee.run import command, parameters
from knee.splits import oversampling, split_table
from knee.storage import artifacts

ERRORS = (records_table.RecordsError, split_table.SplitError)
log = logging.getLogger(__name__)


def run(settings: parameters.Params, *, records_in: Path, split_in: Path, rows_out: Path) -> None:
    """Write the training rows of `split_in`."""
    chosen = settings.oversample
    table, split = records_table.read_records(records_in), split_table.read_split(split_in)
    rows = oversampling.training_rows(table, split, chosen.method, chosen.seed)
    artifacts.write_text(rows_out, rows.to_csv(index=False))
    distinct = rows["record"].nunique()
    log.info("%d training rows: %d distinct, %d repeats", len(rows), distinct, len(rows) - distinct)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run the stage."""
    parser = command.parser(__doc__)
    parser.add_argument("--records", type=Path, required=True, dest="records_in")
    parser.add_argument("--split", type=Path, required=True, dest="split_in")
    parser.add_argument("--rows-out", type=Path, required=True)
    return command.run("oversample", parser.parse_args(argv), command.by_keyword(run), ERRORS)


if __name__ == "__main__":
    raise SystemExit(main())
