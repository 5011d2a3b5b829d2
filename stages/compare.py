"""Compare the models with each other and with what needs no bone, on the same records.

FOLDER gets comparison.json, figures.csv, differences.csv, comparison.html and charts. --also adds
the cross-validation of another experiment on the same records and folds.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from knee.audit import shortcuts
from knee.classifier.features import feature_source
from knee.evidence.comparison import comparison_report, models_and_baselines
from knee.evidence.comparison.predictor_names import called
from knee.evidence.evaluation import predictions
from knee.evidence.evaluation.json_contents import ComparisonReport
from knee.records import records_table
from knee.run import command, parameters
from knee.splits import split_table
from knee.statistics.bootstrap import Bootstrap
from knee.storage import artifacts, row_files
from knee.storage.artifacts import read_bytes

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
    """Compare the models of `settings.model.candidates`; write the folder `comparison_out`."""
    chosen, names = settings.compare, settings.model.backbones
    bootstrap = Bootstrap(chosen.bootstrap_draws, chosen.interval_level, chosen.seed)
    table, split = records_table.read_records(paths.records), split_table.read_split(paths.split)
    baselines = _baselines(split_table.members(table, split), paths, names)
    joined = settings.model.joined
    out_of_fold = models_and_baselines.read_out_of_fold(
        paths.metrics, names, joined, dict(paths.also)
    )
    tested = {
        name: predictions.read_predictions(read_bytes(paths.metrics / name / "predictions.csv"))
        for name in settings.model.candidates
    }
    found = {
        "cross_validation": out_of_fold
        if isinstance(out_of_fold, str)
        else models_and_baselines.cross_validated(out_of_fold, baselines),
        "test": models_and_baselines.held_out(tested, baselines, split),
    }
    report: ComparisonReport = {
        "synthetic": settings.data.synthetic,
        "split_protocol": settings.split.protocol,
        "leaky": settings.split.protocol == "random",
        "patients": split_table.patient_counts(table, split),
        "metric": chosen.metric,
        "evidence": {
            name: {"reason": evidence}
            if isinstance(evidence, str)
            else models_and_baselines.compare(
                evidence if joined else evidence.with_average(names),
                chosen.metric,
                bootstrap,
                chosen.minimum_origin_groups,
            )
            for name, evidence in found.items()
        },
    }
    with artifacts.staged_folder(paths.comparison_out) as folder:
        comparison_report.write(report, folder)
    _log(report)


def _baselines(
    records: pd.DataFrame, paths: Paths, names: Sequence[str]
) -> models_and_baselines.Baselines:
    """The baselines of `records`, which are in a subset."""
    used = records.reset_index(drop=True)
    rows = used["pixel_row"].to_numpy(np.int64)
    averaged = {}
    for name in names:
        source = feature_source.open_source(paths.features / name, paths.pixels)
        if not source.pixels:
            averaged[name] = models_and_baselines.averaged_over_positions(source.take, rows)
    pixels = row_files.PixelFile(paths.pixels, rows)
    return models_and_baselines.Baselines(
        used, {**shortcuts.shortcuts(used, pixels), **models_and_baselines.probes(averaged)}
    )


def _log(facts: ComparisonReport) -> None:
    metric = facts["metric"]
    for evidence, within, part in comparison_report.parts(facts):
        for name, one in part["figures"].items():
            bounds = one[metric]
            if within == "all" and bounds["value"] is not None:
                text = "%-16s %-30s %s %.3f (%s to %s)"
                ends = (bounds["low"], bounds["high"])
                log.info(text, evidence, name, metric, bounds["value"], *ends)
        for one in part["best_shortcut"]:
            text = "%-16s %-30s %s: %s than the best shortcut, %s"
            where = "overall" if within == "all" else f"within {within}"
            verdict = f"{'' if one['significant'] else 'not '}significantly better"
            log.info(text, evidence, one["model"], where, verdict, called(one["other"]))


main = command.stage("compare", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
