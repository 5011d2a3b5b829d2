"""Records -> subsets train, val, test and folds: grouped, official, or random (leaky).

python -m stages.split --records RECORDS.csv --split-out SPLIT.csv --metrics-out SPLIT.json
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from knee.records import file_names, records_table
from knee.run import command, parameters
from knee.splits import protocols, split_table
from knee.storage import artifacts

ERRORS = (records_table.RecordsError, split_table.SplitError, file_names.PatternError)
log = logging.getLogger(__name__)


def run(
    settings: parameters.Params, *, records_in: Path, split_out: Path, metrics_out: Path
) -> None:
    """Split `records_in` by `settings.split`."""
    table, chosen = records_table.read_records(records_in), settings.split
    wanted = {
        name: getattr(chosen, name) for name in ("validation_share", "test_share", "folds", "seed")
    }
    patterns = file_names.compile_patterns(
        settings.ingest.lineage_patterns, settings.ingest.copy_patterns
    )
    originals = file_names.originals(table["source"].tolist(), patterns)
    if chosen.protocol == "random":
        split = protocols.random_split(table, **wanted)
    elif chosen.protocol == "official":
        del wanted["test_share"]  # the data's makers gave it
        split = protocols.official_split(table, originals, **wanted)
    else:
        split = protocols.grouped_split(table, originals, **wanted)
    facts = split_table.summary(table, split, chosen.protocol, synthetic=settings.data.synthetic)
    artifacts.write_text(split_out, split.to_csv(index=False))
    artifacts.write_json(metrics_out, facts)
    for name, counts in facts["subsets"].items():
        log.info("%-6s %s", name, ", ".join(f"{key} {value}" for key, value in counts.items()))
    log.info(
        "%s split: %.1f %% of test has a relative in train%s",
        chosen.protocol,
        100 * facts["leakage"],
        " (LEAKY: for comparison only)" if facts["leaky"] else "",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run the stage."""
    parser = command.parser(__doc__)
    parser.add_argument("--records", type=Path, required=True, dest="records_in")
    parser.add_argument("--split-out", type=Path, required=True)
    parser.add_argument("--metrics-out", type=Path, required=True)
    return command.run("split", parser.parse_args(argv), command.by_keyword(run), ERRORS)


if __name__ == "__main__":
    raise SystemExit(main())
