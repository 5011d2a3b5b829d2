"""Training rows, the rare classes repeated until all are as frequent; val and test stay as is."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from knee.records import records_table
from knee.run import command, parameters
from knee.splits import split_table
from knee.storage import artifacts

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage reads and writes."""

    records: Path = command.flag("records table of ingest")
    split: Path = command.flag("split table of split")
    rows_out: Path = command.flag("training rows, CSV")


def run(settings: parameters.Params, paths: Paths) -> None:
    """Write the training rows of `split`."""
    chosen = settings.oversample
    table, split = records_table.read_records(paths.records), split_table.read_split(paths.split)
    rows = split_table.training_rows(table, split, chosen.method, chosen.seed)
    artifacts.write_text(paths.rows_out, rows.to_csv(index=False))
    distinct = rows["record"].nunique()
    log.info("%d training rows: %d distinct, %d repeats", len(rows), distinct, len(rows) - distinct)


main = command.stage("oversample", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
