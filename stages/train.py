r"""Train one backbone's classifier on the train subset; the val subset chooses the epoch.

python -m stages.train --backbone mobilenet --features FOLDER --pixels PIXELS.npy \
    --records RECORDS.csv --split SPLIT.csv --rows TRAIN_ROWS.csv --checkpoints FOLDER \
    --model-out FOLDER --history-out HISTORY.csv

Every run of this command is one MLflow run, live while it trains. A killed training goes on from
its last epoch when the same command is given again.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stages import params, tracking
from stages.classifier import backbones, design, features, fit, saved, training
from stages.classifier.checkpoints import Checkpoints
from stages.radiographs import artifacts, provenance, records, splits

ERRORS = (
    params.ParamsError,
    backbones.BackboneError,
    features.FeaturesError,
    FileNotFoundError,
)


def run(settings: params.Params, paths: argparse.Namespace) -> None:
    """Train `paths.backbone`; write the folder `paths.model_out` and `paths.history_out`."""
    table = records.read_records(paths.records)
    classes = records.class_names(table)
    rows = pd.read_csv(paths.rows)
    facts = _facts(settings, classes, paths)
    checkpoints = Checkpoints(paths.checkpoints, provenance.key(facts))
    facts["execution"] = uuid.uuid4().hex
    with tracking.training_run(**tracking.labels(facts)) as tracked:
        model, progress = training.train(
            _plan(settings, paths.features, len(classes)),
            features.open_source(paths.features, paths.pixels),
            fit.Subset(rows["pixel_row"].to_numpy(), rows["class_index"].to_numpy()),
            _validation(table, paths.split),
            checkpoints,
            tracked.log_epoch,
        )
        with artifacts.staged_folder(paths.model_out) as folder:
            facts["model_sha256"] = saved.save_model(model, folder / "model.keras")
            facts["best_epoch"] = progress.best_epoch
            artifacts.write_json(folder / "training.json", dict(sorted(facts.items())))
        history = pd.DataFrame(progress.history).round(6)
        artifacts.write_text(paths.history_out, history.to_csv(index=False))
    checkpoints.clear()


def _facts(
    settings: params.Params, classes: list[str], paths: argparse.Namespace
) -> dict[str, Any]:
    """What this training is, for its checkpoint's key, its record and MLflow."""
    backbone = dataclasses.asdict(design.read_design(paths.features))
    sections = {name: params.as_dictionary(getattr(settings, name)) for name in SECTIONS}
    return {
        "backbone": paths.backbone,
        "classes": classes,
        "preprocessing": {
            "side_pixels": backbone["side_pixels"],
            "fit": settings.ingest.fit,
            "crop_borders": settings.ingest.crop_borders,
        },
        "data": settings.data.name,
        "synthetic": settings.data.synthetic,
        "split_protocol": settings.split.protocol,
        "data_fingerprint": provenance.fingerprint(paths.records),
        "split_fingerprint": provenance.fingerprint(paths.split),
        "rows_fingerprint": provenance.fingerprint(paths.rows),
        "parameters": provenance.flatten({"backbone": backbone, **sections}),
    }


SECTIONS = ("split", "oversample", "head", "train")


def _plan(settings: params.Params, features_in: Path, classes: int) -> training.Plan:
    head, train = (params.as_dictionary(section) for section in (settings.head, settings.train))
    return training.planned(design.read_design(features_in), head, train, classes)


def _validation(table: pd.DataFrame, split: Path) -> fit.Subset:
    chosen = table.merge(splits.read_split(split)[["record", "subset"]], on="record")
    chosen = chosen[chosen["subset"] == "val"]
    return fit.Subset(chosen["pixel_row"].to_numpy(), chosen["class_index"].to_numpy())


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--backbone", required=True)
    for name in ("features", "pixels", "records", "split", "rows", "checkpoints"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("model-out", "history-out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    paths = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        run(params.load(paths.params), paths)
    except ERRORS as error:
        sys.stderr.write(f"train: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
