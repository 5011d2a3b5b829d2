"""Judge one trained backbone on the test subset, which nothing has read before.

Predictions are of val and test: val is what registration chooses by. Every figure, table and
picture is of test alone. The training's MLflow run is completed with them.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee import tracking
from knee.classifier.attribution import grad_cam
from knee.classifier.net import devices, model_outputs, saved
from knee.drawing import charts, contact_sheets
from knee.evidence.evaluation import evaluation_report, predictions
from knee.evidence.uncertainty import prediction_limits, uncertainty_report
from knee.records import records_table
from knee.run import command, parameters
from knee.splits import split_table
from knee.statistics import curves, scores
from knee.storage import artifacts, row_files
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
    predictions_out: Path = command.flag("predictions of val and test, CSV")
    plots_out: Path = command.flag("folder of charts and their tables")


def run(settings: parameters.Params, paths: Paths) -> None:
    """Judge `backbone`; write figures, predictions and the folder `plots_out`."""
    table = records_table.read_records(paths.records)
    training = evaluation_report.read_training(
        paths.model / "training.json",
        paths.backbone,
        records_table.class_names(table),
        records=paths.records,
        split=paths.split,
    )
    split_metrics = evaluation_report.read_split_metrics(paths.split_metrics, training)
    held = predictions.held_out(table, split_table.read_split(paths.split))
    rows = held["pixel_row"].to_numpy()
    pixels = row_files.read_pixels(paths.pixels, rows)[rows]
    history = evaluation_report.read_history(paths.history)
    devices.make_deterministic(settings.evaluate.seed)
    model = saved.load_model(paths.model / "model.keras", training["model_sha256"])
    limits = prediction_limits.read(paths.model, training)
    joint = model_outputs.with_features(model)
    both = model_outputs.split_outputs(saved.predict(joint, pixels), len(limits.classes))
    predicted = predictions.predictions(held, both.probabilities, training["classes"])
    predicted["prediction_set"] = limits.sets(
        predictions.probabilities_of(predicted, training["classes"])
    )
    predicted["out_of_distribution"] = limits.scores(both.features)
    is_test = predicted["subset"] == "test"
    test = predicted[is_test].reset_index(drop=True)
    chosen = settings.evaluate
    report = evaluation_report.report(
        test,
        training,
        split_metrics,
        draws=chosen.bootstrap_draws,
        level=chosen.interval_level,
        seed=chosen.seed,
    )
    films = pixels[is_test.to_numpy()]
    strange = _strangers(chosen, joint, films, limits)
    _add_caution(report, settings, test, training, strange)
    artifacts.write_text(paths.predictions_out, artifacts.as_csv(predicted))
    subtitle = evaluation_report.subtitle(report)
    with artifacts.staged_folder(paths.plots_out) as folder:
        _chart(test, training, history, subtitle, folder)
        _picture(chosen, model, films, test, training["classes"], subtitle, folder)
    artifacts.write_json(paths.test_out, report)
    artifacts.write_json(paths.headline_out, evaluation_report.headline(report))
    log.info("%s", "\n".join([subtitle, *scores.lines(report)]))
    reports = {"pipeline/split.json": paths.split_metrics}
    tracking.publish(tracking.collect(paths.model, paths.test_out.parent, reports))


def _strangers(
    chosen: parameters.Evaluate,
    joint: keras.Model,
    films: npt.NDArray[np.uint8],
    limits: prediction_limits.Caution,
) -> tuple[dict[str, npt.NDArray[np.float64]], dict[str, npt.NDArray[np.float64]]]:
    """Unlikeness of drawn pictures, and of some test films as they must not come, by kind."""
    count = chosen.strangers_per_kind
    if not count or limits.unlikeness is None:
        return {}, {}
    drawn = non_radiographs.strangers(films.shape[1], count, chosen.seed)
    spoiled = non_radiographs.disturbed(films[:: max(len(films) // count, 1)][:count])
    pictures = np.concatenate([*drawn.values(), *spoiled.values()])
    observed = model_outputs.split_outputs(saved.predict(joint, pictures), len(limits.classes))
    found = limits.scores(observed.features)
    ends = np.cumsum([len(images) for images in (*drawn.values(), *spoiled.values())])
    parts = np.split(found, ends[:-1])
    return (
        dict(zip(drawn, parts[: len(drawn)], strict=True)),
        dict(zip(spoiled, parts[len(drawn) :], strict=True)),
    )


def _add_caution(
    report: dict[str, Any],
    settings: parameters.Params,
    test: pd.DataFrame,
    training: dict[str, Any],
    strange: tuple[dict[str, npt.NDArray[np.float64]], dict[str, npt.NDArray[np.float64]]],
) -> None:
    chosen = settings.evaluate
    draws = uncertainty_report.Draws(chosen.bootstrap_draws, chosen.interval_level, chosen.seed)
    if len(settings.data.classes) > uncertainty_report.STEPS:  # a scale, not names in some order
        gross = uncertainty_report.gross_errors(test, training, draws)
        report["off_by_two"] = gross["off_by_two"]
        report["confidence_interval"]["off_by_two"] = gross["interval"]
    report["calibration"] = uncertainty_report.calibrated(test, training, draws)
    report["conformal"] = uncertainty_report.conformal_sets(test, training, draws)
    report["out_of_distribution"] = uncertainty_report.unlikeness(test, training, *strange, draws)


def _chart(
    test: pd.DataFrame,
    training: dict[str, Any],
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
    raw = curves.reliability(
        test["class_index"].to_numpy(), uncertainty_report.before(test, training)
    )
    charts.reliability(tables["reliability"], subtitle, folder / "reliability.png", before=raw)
    curves_out = folder / "learning_curves.png"
    charts.learning_curves(history, training["best_epoch"], subtitle, curves_out)


def _picture(
    chosen: parameters.Evaluate,
    model: keras.Model,
    pixels: npt.NDArray[np.uint8],
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
    rows = evaluation_report.explained(test, chosen.explained_images, chosen.seed)
    shown = test.iloc[rows].reset_index(drop=True)
    classes = predictions.probabilities_of(shown, class_names).argmax(axis=1)
    heat = grad_cam.grad_cam(model, pixels[rows], classes) if len(rows) else pixels[rows] / 255
    contact_sheets.grad_cam_panel(pixels[rows], heat, shown, subtitle, folder / "grad_cam.png")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run the stage."""
    return command.main("evaluate", __doc__, Paths, run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
