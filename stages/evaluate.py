"""Judge one trained backbone on the test subset, which nothing has read before.

Predictions are of test, and of what registration chooses by: the val subset of one net, the
out-of-fold predictions of an ensemble or of a net that learned from one. Every figure, table and
chart is of test alone. The training's MLflow run is completed with them.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from knee import tracking
from knee.classifier.attribution import grad_cam
from knee.classifier.net import devices, saved
from knee.classifier.net.trained_model import TrainedModel
from knee.drawing import charts, contact_sheets
from knee.evidence.evaluation import evaluation_report, predictions, subgroups, t_score_errors
from knee.evidence.evaluation.json_contents import TrainingRecord
from knee.evidence.uncertainty import novelty, prediction_limits, uncertainty_report
from knee.evidence.uncertainty.prediction_limits import Observed
from knee.records import records_table
from knee.run import command, parameters
from knee.splits import split_table
from knee.statistics import curves, scores
from knee.statistics.bootstrap import Bootstrap
from knee.storage import artifacts, row_files
from knee.storage.arrays import Floats, Pixels
from knee.synthetic import non_radiographs

if TYPE_CHECKING:
    import keras

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage reads and writes."""

    backbone: str = command.flag("name of the backbone")
    records: Path = command.flag("records table of ingest")
    pixels: Path = command.flag("canonical pixels of ingest")
    split: Path = command.flag("split table of split")
    split_metrics: Path = command.flag("figures of split")
    model: Path = command.flag("folder of train")
    history: Path = command.flag("history of train")
    test_out: Path = command.flag("JSON file of all figures")
    headline_out: Path = command.flag("JSON file of what fits DVC's table")
    members: Path = command.flag("out-of-fold predictions, of train; of one net a header")
    predictions_out: Path = command.flag("predictions of val and test, CSV")
    plots_out: Path = command.flag("folder of charts and their tables")


def run(settings: parameters.Params, paths: Paths) -> None:
    """Judge `backbone`; write figures, predictions and the folder `plots_out`."""
    chosen = settings.evaluate
    table = records_table.read_records(paths.records)
    trained = TrainedModel.read(paths.model)
    classes = records_table.class_names(table)
    trained.check_origin(paths.backbone, classes, records=paths.records, split=paths.split)
    training = trained.training
    split_metrics = evaluation_report.read_split_metrics(paths.split_metrics, training)
    members = predictions.read_predictions(artifacts.read_bytes(paths.members))
    subsets = predictions.HELD_OUT if members.empty else ("test",)
    held = predictions.held_out(table, split_table.read_split(paths.split), subsets)
    rows = held["pixel_row"].to_numpy()
    pixels = row_files.PixelFile(paths.pixels, rows)[rows]
    history = evaluation_report.read_history(paths.history)
    devices.make_deterministic(chosen.seed)
    model = trained.load()
    predicted = _predictions(held, _observed(model, trained, pixels), trained)
    is_test = predicted["subset"] == "test"
    test = predicted[is_test].reset_index(drop=True)
    images = pixels[is_test.to_numpy()]
    bootstrap = Bootstrap(chosen.bootstrap_draws, chosen.interval_level, chosen.seed)
    report = evaluation_report.report(test, training, split_metrics, bootstrap)
    if len(settings.data.classes) > uncertainty_report.STEPS:  # a scale, not names in some order
        outcomes = predictions.outcomes(test, classes)
        share, interval = uncertainty_report.gross_errors(outcomes, bootstrap.level)
        report["off_by_two"] = share
        report["confidence_interval"]["off_by_two"] = interval
    ood_scores = _out_of_distribution_scores(chosen, model, images, trained)
    report |= uncertainty_report.report(test, training, *ood_scores, bootstrap)
    report["subgroups"] = subgroups.subgroups(
        test, table, classes, chosen.minimum_subgroup_groups, bootstrap
    )
    if errors := t_score_errors.t_score_errors(test, table, classes, bootstrap):
        report["t_score_error"] = errors
    if not members.empty:
        described = members.merge(table[["record", "source"]], on="record")
        predicted = pd.concat([described.assign(subset="development"), predicted])[[*predicted]]
    artifacts.write_text(paths.predictions_out, artifacts.as_csv(predicted))
    subtitle = evaluation_report.subtitle(report)
    with artifacts.staged_folder(paths.plots_out) as folder:
        _draw_charts(test, training, history, subtitle, folder)
        _draw_images(chosen, model, images, test, classes, subtitle, folder)
    artifacts.write_json(paths.test_out, report)
    artifacts.write_json(paths.headline_out, evaluation_report.dvc_metrics(report))
    log.info("%s", "\n".join([subtitle, *scores.lines(report)]))
    reports = {"pipeline/split.json": paths.split_metrics}
    metrics = paths.test_out.parent
    tracking.publish(tracking.collect(paths.model, metrics, reports, others_at_work=True))


def _observed(model: keras.Model, trained: TrainedModel, pixels: Pixels) -> Observed:
    """Probabilities and features of pixels (images, side, side), by one pass each."""
    rows = saved.predict(saved.with_features(model), pixels)
    return prediction_limits.split_outputs(rows, len(trained.classes), trained.limits.folds)


def _predictions(held: pd.DataFrame, observed: Observed, trained: TrainedModel) -> pd.DataFrame:
    """The table predictions.csv: probabilities, prediction sets and out-of-distribution scores."""
    classes = trained.training["classes"]
    table = predictions.with_probabilities(held[predictions.KEPT], observed.probabilities, classes)
    probabilities = predictions.probabilities_of(table, classes)
    table["prediction_set"] = trained.limits.sets(probabilities, observed.folds)
    table["out_of_distribution"] = trained.limits.scores(observed.features)
    return table


def _out_of_distribution_scores(
    chosen: parameters.Evaluate, model: keras.Model, images: Pixels, trained: TrainedModel
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Scores of synthetic non-radiographs, and of test images made invalid, by kind."""
    count = chosen.strangers_per_kind
    if not count or trained.limits.novelty is None:
        return {}, {}
    known = novelty.known_scores(trained.training["novelty"], count, chosen.seed)
    drawn = {} if known else non_radiographs.draw_all(images.shape[1], count, chosen.seed)
    corrupted = non_radiographs.corrupted(images[:: max(len(images) // count, 1)][:count])
    together = {**drawn, **corrupted}
    found = trained.limits.scores(saved.features(model, np.concatenate([*together.values()])))
    ends = np.cumsum([len(pixels) for pixels in together.values()])
    parts = dict(zip(together, np.split(found, ends[:-1]), strict=True))
    return known or {kind: parts[kind] for kind in drawn}, {kind: parts[kind] for kind in corrupted}


def _draw_charts(
    test: pd.DataFrame,
    training: TrainingRecord,
    history: pd.DataFrame,
    subtitle: str,
    folder: Path,
) -> None:
    tables = evaluation_report.tables(test, training["classes"])
    for name, table in tables.items():
        artifacts.write_text(folder / f"{name}.csv", artifacts.as_csv(table))
    confusion_out = folder / "confusion.png"
    charts.confusion_matrix(tables["confusion"], training["classes"], subtitle, confusion_out)
    charts.roc(tables["roc"], subtitle, folder / "roc.png")
    charts.precision_recall(tables["precision_recall"], subtitle, folder / "precision_recall.png")
    before = curves.reliability(uncertainty_report.before_calibration(test, training))
    charts.reliability(tables["reliability"], subtitle, folder / "reliability.png", before=before)
    curves_out = folder / "learning_curves.png"
    charts.learning_curves(history, training["best_epoch"], subtitle, curves_out)


def _draw_images(
    chosen: parameters.Evaluate,
    model: keras.Model,
    pixels: Pixels,
    test: pd.DataFrame,
    class_names: Sequence[str],
    subtitle: str,
    folder: Path,
) -> None:
    """The sheet of mistakes and the Grad-CAM panel; `pixels` uint8 (test rows, side, side)."""
    mistakes = folder / "worst_mistakes.png"
    contact_sheets.worst_mistakes(
        pixels, test, class_names, chosen.worst_mistakes, subtitle, mistakes
    )
    rows = evaluation_report.rows_to_explain(test, chosen.explained_images, chosen.seed)
    shown = test.iloc[rows].reset_index(drop=True)
    classes = predictions.probabilities_of(shown, class_names).argmax(axis=1)
    halves = grad_cam.halves(model)
    heat = grad_cam.grad_cam(halves, pixels[rows], classes) if len(rows) else pixels[rows] / 255
    panel_out = folder / "grad_cam.png"
    contact_sheets.heat_maps(pixels[rows], [heat], shown, "Grad-CAM", subtitle, panel_out)


main = command.stage("evaluate", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
