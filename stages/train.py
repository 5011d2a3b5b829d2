"""Train one backbone's classifier: an ensemble of the folds of the development records, or one net.

An ensemble learns from all images that are not of the test subset, and is judged, calibrated and
chosen by the predictions of each image by the nets that have not seen it. One net is trained on
the train subset, and the val subset chooses its epoch.

Every run of this command is one MLflow run, live while it trains. A killed training goes on from
its last epoch when the same command is given again.
"""

from __future__ import annotations

import dataclasses
import shutil
import uuid
from pathlib import Path

import numpy as np
import pandas as pd

from knee import tracking
from knee.classifier.features import feature_source
from knee.classifier.training import (
    finished_training,
    fit,
    fold_training,
    members,
    observe,
    one_net,
    presets,
)
from knee.classifier.training.checkpoints import Checkpoints
from knee.classifier.training.finished_training import FinishedTraining
from knee.evidence.evaluation import out_of_fold
from knee.evidence.uncertainty import prediction_limits
from knee.execution.worker_group import WorkerGroup
from knee.reading import negatives
from knee.records import file_names, records_table
from knee.run import command, parameters
from knee.splits import cross_validation, split_table
from knee.storage import provenance, row_files
from knee.storage.image_stacks import ChosenImages


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
    out_of_fold_out: Path = command.flag("CSV file: an ensemble's out-of-fold predictions")


def run(settings: parameters.Params, paths: Paths) -> None:
    """Train `backbone`; write the folder `model_out`, and tables."""
    table, split = records_table.read_records(paths.records), split_table.read_split(paths.split)
    classes = records_table.class_names(table)
    settings = presets.resolved(settings, split_table.development_images(table, split))
    files = {"features": paths.features, "records": paths.records, "split": paths.split}
    facts = finished_training.facts(settings, paths.backbone, classes, **files, rows=paths.rows)
    origin = feature_source.read_origin(paths.features)
    patterns = settings.ingest.lineage_patterns, settings.ingest.copy_patterns
    key = provenance.key({**facts, "embedding": origin, "patterns": patterns})
    facts["execution"] = uuid.uuid4().hex
    facts["patients"] = split_table.patient_counts(table, split)
    if settings.data.synthetic:
        facts["synthetic_images"] = _digests(table, paths.pixels)
    if settings.ingest.negatives == "invert":
        facts["typical_image"] = _typical_image(table, split, paths.pixels)
    recipe = fold_training.Recipe.of(settings, paths.backbone, paths.features, len(classes))
    train = _ensemble if settings.is_ensemble else _one_net
    with tracking.training_run(tracking.labels(facts)) as tracked:
        finished = train(settings, paths, recipe, table, split, key, tracked.log_epoch)
        finished.write(facts, paths.model_out, paths.history_out, paths.out_of_fold_out)
    shutil.rmtree(paths.checkpoints, ignore_errors=True)


def _one_net(
    settings: parameters.Params,
    paths: Paths,
    recipe: fold_training.Recipe,
    table: pd.DataFrame,
    split: pd.DataFrame,
    key: str,
    on_epoch: fit.EpochReport,
) -> FinishedTraining:
    """One net of the train subset, whose limits are learned from the val subset."""
    workers = settings.train.workers
    return one_net.train(
        recipe,
        records_table.class_names(table),
        feature_source.open_source(paths.features, paths.pixels),
        feature_source.Subset.of(split_table.read_rows(paths.rows)),
        one_net.validation_records(table, split),
        settings.caution,
        Checkpoints(paths.checkpoints, key),
        on_epoch,
        WorkerGroup(settings.execution, workers) if workers > 1 else None,
    )


def _ensemble(
    settings: parameters.Params,
    paths: Paths,
    recipe: fold_training.Recipe,
    table: pd.DataFrame,
    split: pd.DataFrame,
    key: str,
    on_epoch: fit.EpochReport,
) -> FinishedTraining:
    """The members of all folds, whose limits are learned from what each held out."""
    chosen = settings.train
    patterns = file_names.patterns_of(settings.ingest)
    kept = cross_validation.chosen_records(table, split, patterns, "development")
    folds = cross_validation.plan_members(kept, chosen.members, chosen.members_seeds, chosen.seed)
    source = feature_source.open_source(paths.features, paths.pixels)
    with fold_training.place_of_work(
        settings, paths.backbone, paths.features, recipe.classes, source
    ) as place_of:
        made = members.train_members(recipe, source, kept, folds, paths.checkpoints, key, place_of)
    for epoch, row in enumerate(made.history.to_numpy(np.float64)):
        on_epoch(epoch, dict(zip(made.history.columns, row.tolist(), strict=True)))
    first = [fold for fold in folds if fold.repeat == 0]
    truth, groups = (kept[name].to_numpy(np.int64) for name in ("class_index", "group"))
    learned = prediction_limits.learn_from_folds(
        made.out_of_fold,
        truth,
        groups,
        made.fold,
        observe.features(made.net, source, kept["pixel_row"].to_numpy()),
        made.channels,
        method=settings.caution.calibration,
        level=settings.caution.set_level,
        quantile=settings.caution.familiar_quantile,
    )
    results = made.results(first, learned.temperature)
    predicted = out_of_fold.table(kept, first, results, records_table.class_names(table))
    return FinishedTraining(made.net, learned, made.epoch, made.history, predicted)


def _typical_image(table: pd.DataFrame, split: pd.DataFrame, pixels: Path) -> str:
    """The median image of train and val, as text: predict refuses its negatives."""
    learned = split.loc[split["subset"].isin(["train", "val"]), "record"]
    rows = table.loc[table["record"].isin(learned), "pixel_row"].to_numpy()
    images = ChosenImages(row_files.PixelFile(pixels, rows), rows)
    return negatives.as_text(negatives.median_image(images))


def _digests(table: pd.DataFrame, pixels: Path) -> list[str]:
    """All images, not only those trained on, by which the model tells that an image is another."""
    rows = table.loc[table["pixel_row"] >= 0, "pixel_row"].to_numpy()
    images = row_files.PixelFile(pixels, rows)
    return sorted({provenance.image_digest(images[row]) for row in rows})


main = command.stage("train", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
