r"""Classify radiographs with a trained model: files, folders, DICOM -> CSV or JSON.

python -m stages.predict PATH... [--out FILE.csv|FILE.json] [--model models:/NAME@champion|FOLDER]
    [--dicom-sr FOLDER]

Each file has a row: its probabilities, or the reason why it could not be used. A model of synthetic
images answers about those images only, and each row begins with what it is.

Beside the probabilities are the prediction set (the classes that the model cannot exclude) and
out_of_distribution, how unlike the training radiographs an image is: above 1 the prediction is not
to be used, which is_out_of_distribution and warning say too. docs/judging.md explains them.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from knee.classifier.features import engines
from knee.evidence.uncertainty import prediction_limits
from knee.prediction import batch_prediction, model_notes, structured_reports, synthetic_model
from knee.reading import prepare, source_files
from knee.run import command, parameters
from knee.serving import loading
from knee.statistics.bootstrap import Bootstrap
from knee.storage import artifacts


@dataclasses.dataclass(frozen=True)
class Options:
    """The command line."""

    params: Path
    paths: list[Path]
    out: Path | None
    model: str
    engine: Literal["auto", "openvino", "tensorflow"]
    precision: Literal["auto", "float32", "bfloat16"]
    maximum_megapixels: float
    labels: bool
    synthetic_model_ok: bool
    dicom_sr: Path | None = None


def run(chosen: Options) -> int:
    """Classify `chosen.paths`; 1 if none of them could be used, or none of the reports written."""
    if chosen.dicom_sr:
        structured_reports.check_folder(chosen.dicom_sr)
    engine = engines.choose(chosen.engine, chosen.precision)
    name = loading.champion_unless_named(chosen.model, chosen.params)
    with loading.trained_model(name, chosen.maximum_megapixels) as trained:
        sources = _sources(chosen, trained.classes)
        if beginning := synthetic_model.warning(trained.training):
            command.alarm(beginning)
        model = batch_prediction.Model(
            trained, engine, loading.cache(), synthetic_model_ok=chosen.synthetic_model_ok
        )
    table = model.classify(sources)
    _write(table, chosen.out, labels=chosen.labels)
    reports = 1
    if chosen.dicom_sr:
        reports = structured_reports.write_all(table, sources, model.trained, chosen.dicom_sr)
    usable = table[table["reason"] == ""]
    if chosen.labels and len(usable):
        judged = parameters.load(chosen.params).evaluate
        bootstrap = Bootstrap(judged.bootstrap_draws, judged.interval_level, judged.seed)
        figures = batch_prediction.figures(usable, trained.training, bootstrap)
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    logging.info("%d of %d files classified", len(usable), len(table))
    for note in model_notes.notes(trained.training):
        logging.warning("%s", note)
    refused = int((table["reason"] == synthetic_model.REFUSAL).sum())
    if refused:
        logging.warning("%d of them not answered: %s", refused, synthetic_model.REFUSAL)
    warned = int((table["warning"] != "").sum())
    if warned:
        logging.warning("%d of them: %s", warned, prediction_limits.WARNING)
    return 0 if len(usable) and reports else 1


def _sources(chosen: Options, classes: Sequence[str]) -> list[source_files.SourceFile]:
    if chosen.labels:
        if len(chosen.paths) != 1:
            raise source_files.FolderError("--labels: give one folder with a sub-folder per class")
        source_files.class_folders(chosen.paths[0], classes)
    return prepare.sources(chosen.paths, labelled=chosen.labels)


def _write(table: pd.DataFrame, out: Path | None, *, labels: bool) -> None:
    shown = table if labels else table.drop(columns="label")
    if out is None:
        if not labels:
            sys.stdout.write(artifacts.as_csv(shown))
    elif out.suffix == ".json":
        artifacts.write_text(out, batch_prediction.as_json(shown))
    else:
        artifacts.write_text(out, artifacts.as_csv(shown))


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = command.parser(__doc__)
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="file, or folder of files"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="table to write, JSON by the suffix .json, else CSV; default: CSV to standard output",
    )
    loading.add_model_flags(parser)
    parser.add_argument(
        "--engine",
        choices=("auto", "openvino", "tensorflow"),
        default="auto",
        help="that computes; auto: TensorFlow on GPUs, else OpenVINO if installed",
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="float32",
        help="bfloat16 takes half the time and changes the second or third digit of probabilities",
    )
    parser.add_argument(
        "--maximum-megapixels",
        type=float,
        default=64.0,
        metavar="NUMBER",
        help="larger images are refused unread",
    )
    parser.add_argument(
        "--labels",
        action="store_true",
        help="the one PATH has a sub-folder for each class: print the figures of test.json as JSON "
        "instead of rows",
    )
    parser.add_argument(
        "--dicom-sr",
        type=Path,
        metavar="FOLDER",
        help="new folder for a DICOM Structured Report of each DICOM file, with its patient's name",
    )
    chosen = Options(**vars(parser.parse_args(argv)))
    return command.exit_status("predict", lambda: run(chosen))


if __name__ == "__main__":
    raise SystemExit(main())
