"""Cross-validate one backbone's recipe: folds that keep groups whole.

Of an ensemble the cross-validation is there already: each image's prediction by the members that
have not seen it. Of one net repeated folds train afresh what train would train, with the
parameters of train. Where that is the whole backbone, nothing runs unless
cross_validate.whole_backbone is true, and the outputs say so.
The heads of cross_validate.heads are trained in the same folds: compare sets them beside this one.
A killed run goes on after its last finished fold when the same command is given again.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from knee.classifier.features import feature_source
from knee.classifier.net import design
from knee.classifier.training import fold_training, presets
from knee.evidence.evaluation import cross_validation_files, out_of_fold, predictions
from knee.evidence.evaluation.fold_results import FoldResult, FoldResults
from knee.execution.place import Place
from knee.records import file_names, known_patients, records_table
from knee.run import command, parameters
from knee.splits import cross_validation, split_table
from knee.splits.cross_validation import Fold
from knee.statistics import scores
from knee.statistics.bootstrap import Bootstrap
from knee.storage import artifacts, provenance

SECTIONS = ("oversample", "train")  # beside the head: that a fold and the training have in common
TOO_DEAR = (
    "the whole backbone is trained: that would be folds x repeats such trainings; "
    "cross_validate.whole_backbone: true runs them"
)
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage reads and writes."""

    backbone: str = command.flag("name of the backbone")
    features: Path = command.flag("folder of embed")
    pixels: Path = command.flag("canonical pixels of ingest")
    records: Path = command.flag("records table of ingest")
    split: Path = command.flag("split table of split")
    members: Path = command.flag("an ensemble's out-of-fold predictions, of train")
    checkpoints: Path = command.flag("folder for finished folds")
    cross_validation_out: Path = command.flag("JSON file of all figures")
    headline_out: Path = command.flag("JSON file of what fits DVC's table")
    predictions_out: Path = command.flag("out-of-fold predictions, CSV")
    heads_out: Path = command.flag("the same of the heads of cross_validate.heads")
    plot_out: Path = command.flag("PNG of the folds")


def run(settings: parameters.Params, paths: Paths) -> None:
    """Cross-validate `backbone`; write figures, predictions and a chart."""
    chosen = settings.cross_validate
    table, split = records_table.read_records(paths.records), split_table.read_split(paths.split)
    settings = presets.resolved(settings, split_table.development_images(table, split))
    patterns = file_names.patterns_of(settings.ingest)
    is_ensemble = settings.is_ensemble
    subset = "development" if is_ensemble else chosen.subset
    kept = cross_validation.chosen_records(table, split, patterns, subset)
    folds = _folds(settings, kept)
    facts = _facts(settings, paths, records_table.class_names(table), kept, folds)
    source = feature_source.open_source(paths.features, paths.pixels)
    if source.pixels and not (is_ensemble or chosen.whole_backbone):
        log.info("%s is not cross-validated: %s", paths.backbone, TOO_DEAR)
        none = out_of_fold.table(pd.DataFrame(), [], [], facts["classes"])
        report = out_of_fold.not_run(facts, TOO_DEAR)
        _write(paths, report, none, ())
        return
    with fold_training.place_of_work(
        settings, paths.backbone, paths.features, len(facts["classes"]), source
    ) as place_of:
        work = _Work(settings, paths, facts, source, kept, folds, place_of)
        results = [] if is_ensemble else work.results(settings.head)
        others = work.others()
    if is_ensemble:
        predicted = predictions.read_predictions(artifacts.read_bytes(paths.members))
    else:
        predicted = out_of_fold.table(kept, folds, results, facts["classes"])
    bootstrap = Bootstrap(chosen.bootstrap_draws, chosen.interval_level, chosen.seed)
    report = out_of_fold.report(predicted, results, facts, bootstrap)
    _write(paths, report, predicted, others)
    log.info("%s", "\n".join([out_of_fold.subtitle(report), *scores.lines(report)]))
    shutil.rmtree(paths.checkpoints, ignore_errors=True)


def _folds(settings: parameters.Params, kept: pd.DataFrame) -> list[Fold]:
    """The members of an ensemble, or repeated folds of one net."""
    chosen, train = settings.cross_validate, settings.train
    if settings.is_ensemble:
        return cross_validation.plan_members(kept, train.members, train.members_seeds, train.seed)
    protocol = cross_validation.CrossValidationProtocol(
        chosen.folds, chosen.repeats, chosen.validation_share, chosen.seed
    )
    return cross_validation.plan_folds(kept, protocol)


def _facts(
    settings: parameters.Params,
    paths: Paths,
    classes: list[str],
    kept: pd.DataFrame,
    folds: Sequence[Fold],
) -> dict[str, Any]:
    """What was cross-validated and how; all that decides a fold but split and features."""
    chosen, train = settings.cross_validate, settings.train
    leakage = cross_validation.leakage(kept, folds)
    protocol: dict[str, Any] = {
        "subset": chosen.subset,
        "repeats": 1 + max(fold.repeat for fold in folds),
        "validation_share": chosen.validation_share,
        "seed": chosen.seed,
    }
    if settings.is_ensemble:  # each image is predicted once, by the members of all seeds together
        protocol = {
            "subset": "development",
            "repeats": 1,
            "members_seeds": train.members_seeds,
            "validation_share": 0.0,
            "seed": train.seed,
        }
    return {
        "backbone": paths.backbone,
        "classes": classes,
        "synthetic": settings.data.synthetic,
        "split_protocol": "grouped",
        "leaky": leakage > 0,
        "leakage": round(leakage, 6),
        "patients": known_patients.patient_counts(kept),
        "folds": 1 + max(fold.fold for fold in folds),
        **protocol,
        "interval_level": chosen.interval_level,
        "data_fingerprint": provenance.fingerprint(paths.records),
        "parameters": _parameters(settings, paths, settings.head),
    }


def _parameters(settings: parameters.Params, paths: Paths, head: parameters.Head) -> dict[str, Any]:
    """Those of a fold's training, flat."""
    sections = {name: dataclasses.asdict(getattr(settings, name)) for name in SECTIONS}
    sections["head"] = dataclasses.asdict(head)
    backbone = vars(design.read_design(paths.features))
    return provenance.flatten({"backbone": backbone, **sections})


@dataclasses.dataclass(frozen=True)
class _Work:
    """Trainings of the same folds with several heads."""

    settings: parameters.Params
    paths: Paths
    facts: dict[str, Any]
    source: feature_source.Source
    kept: pd.DataFrame
    folds: Sequence[Fold]
    place_of: Callable[[], Place]

    def others(self) -> list[pd.DataFrame]:
        """Out-of-fold predictions of the heads of cross_validate.heads, each once a record."""
        judged = [fold for fold in self.folds if fold.repeat < self.facts["repeats"]]
        tables = []
        for name, head in self.settings.cross_validate.heads.items():
            found = self.results(head, name)
            table = out_of_fold.table(self.kept, judged, found, self.facts["classes"])
            tables.append(table.assign(head=name))
        return tables

    def results(self, head: parameters.Head, name: str = "") -> list[FoldResult]:
        """The results of all folds with `head`, called `name` where it is not the one of train.

        Those of an ensemble are of the folds alone, by the members of all seeds together.
        """
        settings, paths, source = self.settings, self.paths, self.source
        state = {
            **self.facts,
            "parameters": _parameters(settings, paths, head),
            "split_fingerprint": provenance.fingerprint(paths.split),
            "embedding": feature_source.read_origin(paths.features),
            "patterns": (settings.ingest.lineage_patterns, settings.ingest.copy_patterns),
        }
        called = cross_validation.with_head(paths.backbone, name) if name else paths.backbone
        classes = len(self.facts["classes"])
        recipe = fold_training.Recipe.of(settings, called, paths.features, classes, head)
        folder = paths.checkpoints / (f"head-{name}" if name else "recipe")
        key, data = provenance.key(state), (recipe, source, self.kept, self.folds)
        if settings.is_ensemble:
            from knee.classifier.training import members  # TensorFlow

            made = members.train_members(*data, folder, key, self.place_of)
            return made.results([fold for fold in self.folds if fold.repeat == 0])
        return fold_training.train_folds(*data, FoldResults(folder, key), self.place_of)


def _write(
    paths: Paths,
    report: dict[str, Any],
    predicted: pd.DataFrame,
    others: Sequence[pd.DataFrame],
) -> None:
    """`others` are the tables of other heads, of the columns of `predicted` and `head`."""
    heads = pd.concat(others) if others else predicted.head(0).assign(head="")
    artifacts.write_text(paths.heads_out, artifacts.as_csv(heads))
    cross_validation_files.write(
        report,
        predicted,
        predictions_out=paths.predictions_out,
        plot_out=paths.plot_out,
        headline_out=paths.headline_out,
        cross_validation_out=paths.cross_validation_out,
    )


main = command.stage("cross_validate", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
