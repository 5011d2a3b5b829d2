"""Records -> subsets train, val, test and folds: grouped, official, or random (leaky)."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from knee.records import file_names, known_patients, records_table
from knee.run import command, parameters
from knee.splits import protocols, split_table
from knee.storage import artifacts

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage reads and writes."""

    records: Path = command.flag("records table of ingest")
    split_out: Path = command.flag("split table, CSV: subset and fold of each record")
    metrics_out: Path = command.flag("JSON file of the figures")


def run(settings: parameters.Params, paths: Paths) -> None:
    """Split `records` by `settings.split`."""
    table, chosen = records_table.read_records(paths.records), settings.split
    wanted = dataclasses.asdict(chosen)
    del wanted["protocol"]
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
    facts = split_table.split_metrics(
        table, split, chosen.protocol, synthetic=settings.data.synthetic
    )
    artifacts.write_text(paths.split_out, split.to_csv(index=False))
    artifacts.write_json(paths.metrics_out, facts)
    for name, counts in facts["subsets"].items():
        log.info("%-6s %s", name, ", ".join(f"{key} {value}" for key, value in counts.items()))
    note = " (LEAKY: for comparison only)" if facts["leaky"] else ""
    note += f"; {caveat}" if (caveat := known_patients.caveat(facts["patients"])) else ""
    text = "%s split: %.1f %% of test has a relative in train%s"
    log.info(text, chosen.protocol, 100 * facts["leakage"], note)


main = command.stage("split", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
