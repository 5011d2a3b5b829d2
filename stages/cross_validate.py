r"""Cross-validate one backbone's recipe: repeated folds that keep groups whole.

python -m stages.cross_validate --backbone mobilenet --features FOLDER --pixels PIXELS.npy \
    --records RECORDS.csv --split SPLIT.csv --checkpoints FOLDER \
    --cross-validation-out CROSS_VALIDATION.json --headline-out HEADLINE.json \
    --predictions-out OUT_OF_FOLD.csv --plot-out CROSS_VALIDATION.png

Each fold trains afresh what train would train, with the parameters of train. Where that is the
whole backbone, nothing runs unless cross_validate.whole_backbone is true, and the outputs say so.
A killed run goes on after its last finished fold when the same command is given again.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from stages import command, params
from stages.classifier import design, features
from stages.radiographs import (
    artifacts,
    charts,
    cross_validation,
    evaluation,
    headline,
    lineage,
    out_of_fold,
    provenance,
    records,
    scores,
    splits,
)
from stages.radiographs.cross_validation import Fold
from stages.radiographs.fold_results import FoldResults, Result

if TYPE_CHECKING:  # TensorFlow is not imported where nothing is trained
    from stages.classifier.learner import Learner

ERRORS = (
    records.RecordsError,
    splits.SplitError,
    lineage.LineageError,
    scores.ScoreError,
    design.DesignError,
    features.FeaturesError,
    cross_validation.CrossValidationError,
)
SECTIONS = ("oversample", "head", "train")  # that a fold and the training have in common
TOO_DEAR = (
    "the whole backbone is trained: that would be folds x repeats such trainings; "
    "cross_validate.whole_backbone: true runs them"
)
SHOWN = ("accuracy", "macro_f1")  # of each fold in the log
log = logging.getLogger(__name__)


def run(settings: params.Params, paths: argparse.Namespace) -> None:
    """Cross-validate `paths.backbone`; write figures, predictions and a chart."""
    chosen = settings.cross_validate
    table = records.read_records(paths.records)
    kept = _kept(settings, table, splits.read_split(paths.split))
    protocol = cross_validation.Protocol(
        chosen.folds, chosen.repeats, chosen.validation_share, chosen.seed
    )
    folds = cross_validation.plan_folds(kept, protocol)
    facts = _facts(settings, paths, records.class_names(table), kept, folds)
    source = features.open_source(paths.features, paths.pixels)
    if source.pixels and not chosen.whole_backbone:
        _write_nothing_ran(paths, facts)
        return
    state = {
        **facts,
        "split_fingerprint": provenance.fingerprint(paths.split),
        "embedding": None if source.pixels else features.read_origin(paths.features),
    }
    done = FoldResults(paths.checkpoints, provenance.key(state))
    results = _results(settings, paths, facts["classes"], source, kept, folds, done)
    predicted = out_of_fold.table(kept, folds, results, facts["classes"])
    report = out_of_fold.report(
        predicted,
        folds,
        results,
        facts,
        draws=chosen.bootstrap_draws,
        level=chosen.interval_level,
        seed=chosen.seed,
    )
    _write(paths, report, predicted, headline.headline(report))
    _log(report)
    done.clear()


def _kept(settings: params.Params, table: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    patterns = lineage.compile_patterns(
        settings.ingest.lineage_patterns, settings.ingest.copy_patterns
    )
    originals = lineage.originals(table["source"].tolist(), patterns)
    return cross_validation.chosen_records(table, split, originals, settings.cross_validate.subset)


def _facts(
    settings: params.Params,
    paths: argparse.Namespace,
    classes: list[str],
    kept: pd.DataFrame,
    folds: Sequence[Fold],
) -> dict[str, Any]:
    """What was cross-validated and how; all that decides a fold but split and features."""
    chosen = settings.cross_validate
    sections = {name: params.as_dictionary(getattr(settings, name)) for name in SECTIONS}
    backbone = vars(design.read_design(paths.features))
    leakage = cross_validation.leakage(kept, folds)
    return {
        "backbone": paths.backbone,
        "classes": classes,
        "synthetic": settings.data.synthetic,
        "split_protocol": "grouped",
        "leaky": leakage > 0,
        "leakage": round(leakage, 6),
        "subset": chosen.subset,
        "folds": 1 + max(fold.fold for fold in folds),
        "repeats": 1 + max(fold.repeat for fold in folds),
        "validation_share": chosen.validation_share,
        "seed": chosen.seed,
        "interval_level": chosen.interval_level,
        "data_fingerprint": provenance.fingerprint(paths.records),
        "parameters": provenance.flatten({"backbone": backbone, **sections}),
    }


def _results(
    settings: params.Params,
    paths: argparse.Namespace,
    classes: Sequence[str],
    source: features.Source,
    kept: pd.DataFrame,
    folds: Sequence[Fold],
    done: FoldResults,
) -> list[Result]:
    """The result of each fold, found or trained."""
    learner: Learner | None = None
    results = []
    with logging_redirect_tqdm():
        for number, fold in enumerate(tqdm(folds, paths.backbone, unit="fold", disable=None)):
            started = time.perf_counter()
            found = done.find(fold.repeat, fold.fold, (len(fold.held_out), len(classes)))
            if found is None:
                learner = learner or _learner(settings, paths, len(classes), source)
                found = _trained(settings, learner, kept, fold, settings.train.seed + number)
                done.keep(fold.repeat, fold.fold, found)
            results.append(found)
            _log_fold(kept, fold, found, time.perf_counter() - started)
    return results


def _learner(
    settings: params.Params, paths: argparse.Namespace, classes: int, source: features.Source
) -> Learner:
    from stages.classifier import training
    from stages.classifier.learner import Learner

    head, train = (params.as_dictionary(section) for section in (settings.head, settings.train))
    plan = training.planned(design.read_design(paths.features), head, train, classes)
    return Learner(plan, source)


def _trained(
    settings: params.Params, learner: Learner, kept: pd.DataFrame, fold: Fold, seed: int
) -> Result:
    chosen = settings.oversample
    rows = cross_validation.training_rows(kept, fold, chosen.method, chosen.seed)
    validation, held_out = kept.iloc[fold.validation], kept.iloc[fold.held_out]
    outcome = learner.train(
        (rows["pixel_row"].to_numpy(), rows["class_index"].to_numpy()),
        (validation["pixel_row"].to_numpy(), validation["class_index"].to_numpy()),
        held_out["pixel_row"].to_numpy(),
        seed,
    )
    chances = scores.checked(held_out["class_index"].to_numpy(), outcome.probabilities)
    return Result(chances, outcome.best_epoch, outcome.epochs)


def _write(
    paths: argparse.Namespace,
    report: dict[str, Any],
    predicted: pd.DataFrame,
    short: dict[str, Any],
) -> None:
    artifacts.write_text(paths.predictions_out, evaluation.as_csv(predicted))
    charts.folds(report, out_of_fold.subtitle(report), paths.plot_out)
    artifacts.write_json(paths.headline_out, short)
    artifacts.write_json(paths.cross_validation_out, report)


def _write_nothing_ran(paths: argparse.Namespace, facts: dict[str, Any]) -> None:
    log.info("%s is not cross-validated: %s", paths.backbone, TOO_DEAR)
    none = out_of_fold.table(pd.DataFrame(), [], [], facts["classes"])
    report = out_of_fold.not_run(facts, TOO_DEAR)
    _write(paths, report, none, out_of_fold.headline_not_run(facts))


def _log_fold(kept: pd.DataFrame, fold: Fold, result: Result, seconds: float) -> None:
    truth = kept["class_index"].to_numpy()[fold.held_out]
    figures = (scores.metric(name)(truth, result.probabilities) for name in SHOWN)
    text = "repeat %d fold %d  %d held out  epoch %d of %d  accuracy %.3f  macro_f1 %.3f  %.1f s"
    numbers = (fold.repeat + 1, fold.fold + 1, len(truth), result.best_epoch + 1, result.epochs)
    log.info(text, *numbers, *figures, seconds)


def _log(report: dict[str, Any]) -> None:
    log.info("%s", out_of_fold.subtitle(report))
    for name in scores.HEADLINE:
        bounds = report["confidence_interval"][name]
        log.info("%-28s %s  (%s to %s)", name, report[name], bounds["low"], bounds["high"])


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run the stage."""
    parser = command.parser(__doc__)
    parser.add_argument("--backbone", required=True)
    for name in ("features", "pixels", "records", "split", "checkpoints"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("cross-validation-out", "headline-out", "predictions-out", "plot-out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return command.run("cross_validate", parser.parse_args(argv), run, ERRORS)


if __name__ == "__main__":
    raise SystemExit(main())
