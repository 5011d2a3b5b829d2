"""Train one backbone's classifier on the train subset; the val subset chooses the epoch.

Every run of this command is one MLflow run, live while it trains. A killed training goes on from
its last epoch when the same command is given again.
"""

from __future__ import annotations

import dataclasses
import logging
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from knee import tracking
from knee.classifier.features import feature_source
from knee.classifier.net import design, saved
from knee.classifier.training import observe, training
from knee.classifier.training.checkpoints import Checkpoints
from knee.evidence.uncertainty import novelty, prediction_limits
from knee.records import records_table
from knee.run import command, parameters
from knee.splits import split_table
from knee.storage import artifacts, provenance, row_files
from knee.storage.arrays import Floats, Pixels
from knee.synthetic import non_radiographs

if TYPE_CHECKING:
    import keras

log = logging.getLogger(__name__)

DRAWN_PER_KIND, DRAWN_SEED = 20, 42  # non-radiographs on which the score is tried


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage reads and writes."""

    backbone: str = command.flag("name of the backbone")
    features: Path = command.flag("folder of embed")
    pixels: Path = command.flag("canonical pixels of ingest")
    records: Path = command.flag("records table of ingest")
    split: Path = command.flag("split table of split")
    rows: Path = command.flag("training rows of oversample")
    checkpoints: Path = command.flag("folder for the state of an unfinished training")
    model_out: Path = command.flag("folder of model.keras and training.json")
    history_out: Path = command.flag("CSV file: losses and accuracies of each epoch")


def run(settings: parameters.Params, paths: Paths) -> None:
    """Train `backbone`; write the folder `model_out` and `history_out`."""
    table = records_table.read_records(paths.records)
    classes = records_table.class_names(table)
    rows = split_table.read_rows(paths.rows)
    held = _validation(table, paths.split)
    source = feature_source.open_source(paths.features, paths.pixels)
    facts = _facts(settings, classes, paths)
    checkpoints = Checkpoints(paths.checkpoints, provenance.key(facts))
    head, train = (dataclasses.asdict(section) for section in (settings.head, settings.train))
    plan = training.planned(design.read_design(paths.features), head, train, len(classes))
    facts["execution"] = uuid.uuid4().hex
    facts["patients"] = split_table.patient_counts(table, split_table.read_split(paths.split))
    with tracking.training_run(tracking.labels(facts)) as tracked:
        model, progress = training.train(
            plan,
            source,
            feature_source.Subset.of(rows),
            feature_source.Subset.of(held),
            checkpoints,
            tracked.log_epoch,
        )
        learned = _learn(settings.caution, model, source, rows, held)
        with artifacts.staged_folder(paths.model_out) as folder:
            facts |= prediction_limits.write(learned, classes, folder)
            if learned.novelty:
                facts["novelty"]["non_radiographs"] = _tried(
                    learned.novelty, model, held, paths.pixels
                )
            facts["model_sha256"] = saved.save_model(model, folder / "model.keras")
            facts["best_epoch"] = progress.best_epoch
            record = dict(sorted(provenance.sealed(facts).items()))
            artifacts.write_json(folder / "training.json", record)
        history = pd.DataFrame(progress.history).round(6)
        artifacts.write_text(paths.history_out, history.to_csv(index=False))
    checkpoints.clear()


def _facts(settings: parameters.Params, classes: list[str], paths: Paths) -> dict[str, Any]:
    """What this training is, for its checkpoint's key, its record and MLflow."""
    backbone = dataclasses.asdict(design.read_design(paths.features))
    sections = {name: dataclasses.asdict(getattr(settings, name)) for name in SECTIONS}
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


SECTIONS = ("split", "oversample", "head", "train", "caution")


def _learn(
    chosen: parameters.Caution,
    model: keras.Model,
    source: feature_source.Source,
    rows: pd.DataFrame,
    held: pd.DataFrame,
) -> prediction_limits.Learned:
    """What the model knows about its limits; its probabilities are calibrated in place."""
    validation = observe.observe(model, source, held["pixel_row"].to_numpy())
    once = observe.subsample_rows(rows["pixel_row"].to_numpy())
    learned = prediction_limits.learn(
        validation,
        held["class_index"].to_numpy(),
        held["group"].to_numpy(),
        observe.observe(model, source, once).features,
        method=chosen.calibration,
        level=chosen.set_level,
        quantile=chosen.familiar_quantile,
    )
    saved.apply_temperature(model, learned.temperature)
    log.info("temperature %.3f", learned.temperature)
    return learned


def _tried(
    score: novelty.Novelty, model: keras.Model, held: pd.DataFrame, pixels: Path
) -> dict[str, float | int | None]:
    """How well the out-of-distribution score tells drawn non-radiographs from validation images."""
    rows = held["pixel_row"].to_numpy()
    images = row_files.read_pixels(pixels, rows)[rows]
    drawn = non_radiographs.draw_all(images.shape[1], DRAWN_PER_KIND, DRAWN_SEED)
    joint = saved.with_features(model)

    def scores(shown: Pixels) -> Floats:
        classes = model.output.shape[-1]
        return score.scores(saved.split_outputs(saved.predict(joint, shown), classes).features)

    return novelty.separation(scores(images), scores(np.concatenate([*drawn.values()])))


def _validation(table: pd.DataFrame, split: Path) -> pd.DataFrame:
    """Records of the val subset, with the split's groups."""
    drawn = split_table.read_split(split)[["record", "subset", "group"]]
    chosen = table.drop(columns="group").merge(drawn, on="record")
    return chosen[chosen["subset"] == "val"]


main = command.stage("train", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
