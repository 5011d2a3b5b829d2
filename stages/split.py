"""Records -> subsets train, val, test and folds: grouped, official, or random (leaky).

With --keep, a subsets table of an earlier run, its images keep their subset (docs/data.md).
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from knee.records import file_names, known_patients, records_table
from knee.run import command, parameters
from knee.splits import kept_split, protocols, split_images, split_table
from knee.storage import artifacts

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage reads and writes."""

    records: Path = command.flag("records table of ingest")
    split_out: Path = command.flag("split table, CSV: subset and fold of each record")
    images_out: Path = command.flag("images of all subsets, CSV: their rows of pixels")
    metrics_out: Path = command.flag("JSON file of the figures")
    subsets_out: Path | None = command.optional_flag(
        "subsets table, CSV: subset of each image, by its digest; none: it is not written"
    )
    keep: Path | None = command.optional_flag(
        "subsets table to keep; none or conf/no_split.csv: every image gets its subset anew"
    )


def run(settings: parameters.Params, paths: Paths) -> None:
    """Split `records` by `settings.split`."""
    table, chosen = records_table.read_records(paths.records), settings.split
    wanted = dataclasses.asdict(chosen)
    del wanted["protocol"], wanted["keep"]
    kept = kept_split.read_kept(paths.keep, table) if paths.keep else {}
    if kept and chosen.protocol != "grouped":
        raise split_table.SplitError(
            f"split.keep: {paths.keep} is for split=grouped, not for {chosen.protocol}: take "
            f"conf/{kept_split.NO_SPLIT}"
        )
    patterns = file_names.patterns_of(settings.ingest)
    originals = file_names.originals(table["source"].tolist(), patterns)
    if chosen.protocol == "random":
        split = protocols.random_split(table, **wanted)
    elif chosen.protocol == "official":
        del wanted["test_share"]  # the data's makers gave it
        split = protocols.official_split(table, originals, **wanted)
    else:
        split = protocols.grouped_split(table, originals, **wanted, kept=kept)
    facts = split_table.split_metrics(
        table, split, chosen.protocol, synthetic=settings.data.synthetic
    )
    if kept:
        facts["kept"] = kept_split.changes(table, split, kept)
        _log_changes(facts["kept"], str(paths.keep))
    artifacts.write_text(paths.split_out, split.to_csv(index=False))
    split_images.write_images(split_table.members(table, split), paths.images_out)
    if paths.subsets_out:
        subsets = kept_split.subsets_table(table, split)
        artifacts.write_text(paths.subsets_out, subsets.to_csv(index=False))
    artifacts.write_json(paths.metrics_out, facts)
    for name, counts in facts["subsets"].items():
        log.info("%-6s %s", name, ", ".join(f"{key} {value}" for key, value in counts.items()))
    note = " (LEAKY: for comparison only)" if facts["leaky"] else ""
    note += f"; {caveat}" if (caveat := known_patients.caveat(facts["patients"])) else ""
    text = "%s split: %.1f %% of test has a relative in train%s"
    log.info(text, chosen.protocol, 100 * facts["leakage"], note)


def _log_changes(found: Mapping[str, Any], kept: str) -> None:
    text = "%d groups keep the subset that %s has for them, %d new groups got theirs by their hash"
    log.info(text, found["kept_groups"], kept, found["new_groups"])
    if found["missing_images"]:
        log.info("%d of its images are in no subset now", found["missing_images"])
    if found["joined_groups"]:
        moved = {name.replace("_", " "): count for name, count in found["moved_images"].items()}
        log.warning(
            "%d groups join images of several of its subsets, and are in the last of train, val, "
            "test now. Images moved: %s. A model that was trained before has seen them: it is not "
            "compared on their groups",
            found["joined_groups"],
            ", ".join(f"{name} {count}" for name, count in moved.items()),
        )


main = command.stage("split", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
