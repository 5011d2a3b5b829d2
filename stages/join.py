"""Join the ensembles of all backbones to one more model, which is judged as each of them is.

Nothing is trained: the nets are those of train, and the out-of-fold predictions the means of
theirs.
"""

from __future__ import annotations

import dataclasses
import logging
import uuid
from pathlib import Path

from knee.classifier.features import feature_source
from knee.classifier.net import devices
from knee.classifier.net.trained_model import TrainedModel
from knee.classifier.training import finished_training, joining
from knee.evidence.evaluation import cross_validation_files, evaluation_report, out_of_fold
from knee.evidence.evaluation.predictions import read_predictions
from knee.records import records_table
from knee.run import command, parameters
from knee.statistics import scores
from knee.statistics.bootstrap import Bootstrap
from knee.storage.artifacts import read_bytes, read_json

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage reads and writes."""

    backbone: str = command.flag("name of the joint model")
    records: Path = command.flag("records table of ingest")
    pixels: Path = command.flag("canonical pixels of ingest")
    split: Path = command.flag("split table of split")
    features: Path = command.flag("folder with a folder of embed for each backbone")
    models: Path = command.flag("folder with a folder of train for each backbone")
    metrics: Path = command.flag("folder with the figures of each backbone")
    model_out: Path = command.flag("folder of model.keras and training.json")
    history_out: Path = command.flag("CSV file: losses and accuracies of each epoch")
    out_of_fold_out: Path = command.flag("CSV file: out-of-fold predictions, of all members")
    cross_validation_out: Path = command.flag("JSON file of all figures")
    headline_out: Path = command.flag("JSON file of what fits DVC's table")
    predictions_out: Path = command.flag("out-of-fold predictions, CSV")
    plot_out: Path = command.flag("PNG of the folds")


def run(settings: parameters.Params, paths: Paths) -> None:
    """Join the ensembles of all backbones; write the folder `model_out`, figures and tables."""
    table = records_table.read_records(paths.records)
    names = settings.model.backbones
    devices.make_deterministic(settings.train.seed)
    parts = [_part(paths, name, records_table.class_names(table)) for name in names]
    finished = joining.join(paths.backbone, parts, table, settings.caution)
    made_of = [part.trained.training for part in parts]
    facts = finished_training.derived_facts(paths.backbone, made_of)
    facts["execution"] = uuid.uuid4().hex
    finished.write(facts, paths.model_out, paths.history_out, paths.out_of_fold_out)
    chosen = settings.cross_validate
    first = read_json(paths.metrics / names[0] / "cross_validation.json", ("folds", "parameters"))
    protocol = {key: first[key] for key in first if key not in out_of_fold.OF_PREDICTIONS}
    protocol |= {"backbone": paths.backbone}
    protocol["parameters"] = {**first["parameters"], "backbone.name": paths.backbone}
    bootstrap = Bootstrap(chosen.bootstrap_draws, chosen.interval_level, chosen.seed)
    report = out_of_fold.report(finished.out_of_fold, [], protocol, bootstrap)
    cross_validation_files.write(
        report,
        finished.out_of_fold,
        predictions_out=paths.predictions_out,
        plot_out=paths.plot_out,
        headline_out=paths.headline_out,
        cross_validation_out=paths.cross_validation_out,
    )
    log.info("%s", "\n".join([out_of_fold.subtitle(report), *scores.lines(report)]))


def _part(paths: Paths, name: str, classes: list[str]) -> joining.Part:
    trained = TrainedModel.read(paths.models / name)
    trained.check_origin(name, classes, records=paths.records, split=paths.split)
    metrics = paths.metrics / name
    return joining.Part(
        trained,
        read_predictions(read_bytes(metrics / "members.csv")),
        evaluation_report.read_history(metrics / "history.csv"),
        feature_source.open_source(paths.features / name, paths.pixels),
    )


main = command.stage("join", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
