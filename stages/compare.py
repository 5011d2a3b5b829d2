"""Compare the backbones with each other and with what needs no bone, on the same records.

FOLDER gets comparison.json, figures.csv, differences.csv, comparison.html and pictures. --also adds
the cross-validation of another experiment on the same records and folds.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.audit import shortcuts
from knee.classifier.features import feature_source
from knee.evidence.comparison import comparison_report, contenders
from knee.evidence.evaluation import predictions
from knee.records import records_table
from knee.run import command, parameters
from knee.splits import cross_validation, split_table
from knee.statistics import paired_comparison
from knee.storage import artifacts, json_files, row_files
from knee.storage.artifacts import read_bytes

ROWS_AT_ONCE = 256
log = logging.getLogger(__name__)


def _named(text: str) -> tuple[str, Path]:
    name, separator, path = text.partition("=")
    if not (name and separator and path):
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=OUT_OF_FOLD.csv")
    return name, Path(path)


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage reads and writes."""

    records: Path = command.flag("records table of ingest")
    pixels: Path = command.flag("canonical pixels of ingest")
    split: Path = command.flag("split table of split")
    features: Path = command.flag("folder with a folder of embed for each backbone")
    metrics: Path = command.flag("folder with the figures and predictions of each backbone")
    comparison_out: Path = command.flag("folder of comparison.json, tables, charts and the page")
    also: tuple[tuple[str, Path], ...] = command.repeated_flag(
        "NAME=OUT_OF_FOLD.csv: the cross-validation of another experiment on the same folds",
        _named,
    )


def run(settings: parameters.Params, paths: Paths) -> None:
    """Compare the backbones of `settings.model.backbones`; write the folder `comparison_out`."""
    chosen = settings.compare
    protocol = paired_comparison.Protocol(
        chosen.metric, chosen.bootstrap_draws, chosen.interval_level, chosen.seed
    )
    names = settings.model.backbones
    table, split = records_table.read_records(paths.records), split_table.read_split(paths.split)
    used = table[table["status"] == records_table.USED].reset_index(drop=True)
    position = {record: row for row, record in enumerate(used["record"])}
    baselines = _baselines(used, paths, names)
    fields = {
        "cross_validation": _cross_validated(paths, names, baselines, position),
        "test": _held_out(paths.metrics, names, baselines, position, used, split),
    }
    facts = {
        "synthetic": settings.data.synthetic,
        "split_protocol": settings.split.protocol,
        "leaky": settings.split.protocol == "random",
        "metric": protocol.metric,
        "evidence": {
            name: _compare(field, protocol, chosen.minimum_origin_groups)
            for name, field in fields.items()
        },
    }
    with artifacts.staged_folder(paths.comparison_out) as folder:
        comparison_report.write(facts, folder)
    _log(facts)


def _baselines(
    used: pd.DataFrame, paths: Paths, names: Sequence[str]
) -> dict[str, shortcuts.Shortcut]:
    pixels = row_files.read_pixels(paths.pixels, used["pixel_row"].to_numpy())
    pooled = {}
    for name in names:
        source = feature_source.open_source(paths.features / name, paths.pixels)
        if not source.pixels:
            pooled[name] = _pooled(source, used["pixel_row"].to_numpy(np.int64))
    return {**shortcuts.shortcuts(used, pixels), **contenders.pooled_baselines(pooled)}


def _pooled(source: feature_source.Source, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """(rows, channels): the feature maps of the images themselves, averaged over positions."""
    parts = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        chosen = rows[start : start + ROWS_AT_ONCE]
        values = source.take(np.zeros_like(chosen), chosen).astype(np.float32)
        parts.append(values.reshape(len(chosen), -1, values.shape[-1]).mean(axis=1))
    return np.concatenate(parts)


def _cross_validated(
    paths: Paths,
    names: Sequence[str],
    baselines: Mapping[str, shortcuts.Shortcut],
    position: Mapping[int, int],
) -> contenders.Field | str:
    """The contenders, or why there are none."""
    files = {name: paths.metrics / name / "out_of_fold.csv" for name in names}
    files |= dict(paths.also)
    tables = {name: predictions.read_predictions(read_bytes(file)) for name, file in files.items()}
    for name in names:
        tables |= _other_heads(name, paths.metrics / name / "heads_out_of_fold.csv")
    for name in names:
        if tables[name].empty:
            facts = json_files.read_json(
                paths.metrics / name / "cross_validation.json", ("reason",)
            )
            return f"{name} was not cross-validated: {facts['reason']}"
    field = contenders.cross_validated(tables, baselines, position)
    return contenders.with_average(field, names)


def _other_heads(backbone: str, path: Path) -> dict[str, pd.DataFrame]:
    """The tables of `cross_validate.heads`, by what each contender is called."""
    table = predictions.read_predictions(read_bytes(path))
    if "head" not in table:
        raise artifacts.ArtifactError(f"{path} has no column head: run `dvc repro`")
    parts = table.groupby("head", sort=False)
    return {cross_validation.with_head(backbone, str(head)): part for head, part in parts}


def _held_out(
    metrics: Path,
    names: Sequence[str],
    baselines: Mapping[str, shortcuts.Shortcut],
    position: Mapping[int, int],
    used: pd.DataFrame,
    split: pd.DataFrame,
) -> contenders.Field:
    tables = {
        name: predictions.read_predictions(read_bytes(metrics / name / "predictions.csv"))
        for name in names
    }
    training = split.loc[split["subset"] == "train", "record"]
    train = used[used["record"].isin(training)]
    origins = dict(zip(used["record"], used["origin"], strict=True))
    field = contenders.held_out(tables, baselines, position, train, origins)
    return contenders.with_average(field, names)


def _compare(
    field: contenders.Field | str, protocol: paired_comparison.Protocol, minimum_groups: int
) -> dict[str, Any]:
    if isinstance(field, str):
        return {"reason": field}
    within = {}
    for origin in sorted(set(field.origins)):
        part = field.within(origin)
        enough = len(np.unique(part.groups)) >= minimum_groups
        if len(part.truth) < len(field.truth) and enough and len(np.unique(part.truth)) > 1:
            within[str(origin)] = _judged(part, protocol)
    return {"overall": _judged(field, protocol), "within": within}


def _judged(field: contenders.Field, protocol: paired_comparison.Protocol) -> dict[str, Any]:
    part = paired_comparison.compare(field.truth, field.groups, field.contenders, protocol)
    best = paired_comparison.best_shortcuts(part, protocol.metric, protocol.level)
    return {**part, "best_shortcut": best}


def _log(facts: Mapping[str, Any]) -> None:
    metric = facts["metric"]
    for evidence, within, part in comparison_report.parts(facts):
        for name, one in part["figures"].items():
            bounds = one[metric]
            if within == "all" and bounds["value"] is not None:
                text = "%-16s %-30s %s %.3f (%s to %s)"
                ends = (bounds["low"], bounds["high"])
                log.info(text, evidence, name, metric, bounds["value"], *ends)
        for one in part["best_shortcut"]:
            text = "%-16s %-30s %s %s than the best shortcut, %s"
            surely = "surely better" if one["significant"] else "not surely better"
            log.info(text, evidence, one["model"], f"within {within}", surely, one["other"])


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run the stage."""
    return command.main("compare", __doc__, Paths, run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
