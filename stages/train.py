"""Train one backbone's classifier: an ensemble of the folds of the development records, or one net.

An ensemble learns from all images that are not of the test subset, and is judged, calibrated and
chosen by the predictions of each image by the nets that have not seen it. One net is trained on
the train subset, and the val subset chooses its epoch.

Every run of this command is one MLflow run, live while it trains. A killed training goes on from
its last epoch when the same command is given again.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from knee import tracking
from knee.classifier.features import feature_source
from knee.classifier.net import design, saved
from knee.classifier.training import fit, fold_training, members, observe, training
from knee.classifier.training.checkpoints import Checkpoints
from knee.evidence.evaluation import out_of_fold
from knee.evidence.uncertainty import novelty, prediction_limits
from knee.records import file_names, records_table
from knee.run import command, parameters
from knee.splits import cross_validation, split_table
from knee.storage import artifacts, provenance, row_files
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
    out_of_fold_out: Path = command.flag("CSV file: an ensemble's out-of-fold predictions")


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained and calibrated classifier."""

    model: keras.Model
    learned: prediction_limits.Learned
    best_epoch: int
    history: pd.DataFrame
    out_of_fold: pd.DataFrame  # empty of one net


def run(settings: parameters.Params, paths: Paths) -> None:
    """Train `backbone`; write the folder `model_out`, and tables."""
    table = records_table.read_records(paths.records)
    classes = records_table.class_names(table)
    source = feature_source.open_source(paths.features, paths.pixels)
    facts = _facts(settings, classes, paths)
    key = provenance.key(facts)
    facts["execution"] = uuid.uuid4().hex
    facts["patients"] = split_table.patient_counts(table, split_table.read_split(paths.split))
    if settings.data.synthetic:
        facts["synthetic_images"] = _digests(table, paths.pixels)
    train = _ensemble if settings.is_ensemble else _one_net
    with tracking.training_run(tracking.labels(facts)) as tracked:
        trained = train(settings, paths, table, source, key, tracked.log_epoch)
        saved.apply_temperature(trained.model, trained.learned.temperature)
        log.info("temperature %.3f", trained.learned.temperature)
        with artifacts.staged_folder(paths.model_out) as folder:
            facts |= prediction_limits.write(trained.learned, classes, folder)
            if trained.learned.novelty:
                facts["novelty"]["non_radiographs"] = _tried(trained, facts["preprocessing"])
            facts["model_sha256"] = saved.save_model(trained.model, folder / "model.keras")
            facts["best_epoch"] = trained.best_epoch
            facts["weights"] = int(trained.model.count_params())
            record = dict(sorted(provenance.sealed(facts).items()))
            artifacts.write_json(folder / "training.json", record)
        artifacts.write_text(paths.history_out, trained.history.round(6).to_csv(index=False))
        artifacts.write_text(paths.out_of_fold_out, artifacts.as_csv(trained.out_of_fold))
    shutil.rmtree(paths.checkpoints, ignore_errors=True)


def _one_net(
    settings: parameters.Params,
    paths: Paths,
    table: pd.DataFrame,
    source: feature_source.Source,
    key: str,
    on_epoch: fit.EpochReport,
) -> Trained:
    """One net of the train subset, whose limits are learned from the val subset."""
    rows, held = split_table.read_rows(paths.rows), _validation(table, paths.split)
    classes = records_table.class_names(table)
    head, train = (dataclasses.asdict(section) for section in (settings.head, settings.train))
    plan = training.planned(design.read_design(paths.features), head, train, len(classes))
    subsets = (feature_source.Subset.of(rows), feature_source.Subset.of(held))
    checkpoints = Checkpoints(paths.checkpoints, key)
    model, progress = training.train(plan, source, *subsets, checkpoints, on_epoch)
    learned = _learn(settings.caution, model, source, rows, held)
    none = out_of_fold.table(table, [], [], classes)
    return Trained(model, learned, progress.best_epoch, pd.DataFrame(progress.history), none)


def _ensemble(
    settings: parameters.Params,
    paths: Paths,
    table: pd.DataFrame,
    source: feature_source.Source,
    key: str,
    on_epoch: fit.EpochReport,
) -> Trained:
    """The members of all folds, whose limits are learned from what each held out."""
    chosen, classes = settings.train, records_table.class_names(table)
    patterns = file_names.compile_patterns(
        settings.ingest.lineage_patterns, settings.ingest.copy_patterns
    )
    split = split_table.read_split(paths.split)
    originals = file_names.originals(table["source"].tolist(), patterns)
    kept = cross_validation.chosen_records(table, split, originals, "development")
    folds = cross_validation.plan_members(kept, chosen.members, chosen.members_seeds, chosen.seed)
    recipe = fold_training.Recipe(
        paths.backbone,
        design.read_design(paths.features),
        dataclasses.asdict(settings.head),
        dataclasses.asdict(chosen),
        settings.oversample.method,
        settings.oversample.seed,
        len(classes),
    )
    made = members.train_members(recipe, source, kept, folds, paths.checkpoints, key)
    for epoch, row in enumerate(made.history.to_numpy(np.float64)):
        on_epoch(epoch, dict(zip(made.history.columns, row.tolist(), strict=True)))
    first = [fold for fold in folds if fold.repeat == 0]
    truth, groups = (kept[name].to_numpy(np.int64) for name in ("class_index", "group"))
    learned = prediction_limits.learn_from_folds(
        made.out_of_fold,
        truth,
        groups,
        made.fold,
        observe.observe(made.net, source, kept["pixel_row"].to_numpy(), len(first)).features,
        made.channels,
        method=settings.caution.calibration,
        level=settings.caution.set_level,
        quantile=settings.caution.familiar_quantile,
    )
    results = made.results(first, learned.temperature)
    predicted = out_of_fold.table(kept, first, results, classes)
    return Trained(made.net, learned, made.epoch, made.history, predicted)


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


def _digests(table: pd.DataFrame, pixels: Path) -> list[str]:
    """All images, not only those trained on, by which the model tells that an image is another."""
    rows = table.loc[table["pixel_row"] >= 0, "pixel_row"].to_numpy()
    images = row_files.read_pixels(pixels, rows)
    return sorted({provenance.image_digest(images[row]) for row in rows})


SECTIONS = ("split", "oversample", "head", "train", "caution")


def _learn(
    chosen: parameters.Caution,
    model: keras.Model,
    source: feature_source.Source,
    rows: pd.DataFrame,
    held: pd.DataFrame,
) -> prediction_limits.Learned:
    """What the model knows about its limits."""
    validation = observe.observe(model, source, held["pixel_row"].to_numpy())
    once = observe.subsample_rows(rows["pixel_row"].to_numpy())
    return prediction_limits.learn(
        validation,
        held["class_index"].to_numpy(),
        held["group"].to_numpy(),
        observe.observe(model, source, once).features,
        method=chosen.calibration,
        level=chosen.set_level,
        quantile=chosen.familiar_quantile,
    )


def _tried(trained: Trained, preprocessing: Mapping[str, Any]) -> dict[str, float | int | None]:
    """How well the out-of-distribution score tells drawn non-radiographs from held-out images."""
    learned, classes = trained.learned, trained.model.output.shape[-1]
    limits = prediction_limits.PredictionLimits((), learned.thresholds, learned.novelty)
    drawn = non_radiographs.draw_all(preprocessing["side_pixels"], DRAWN_PER_KIND, DRAWN_SEED)
    joint = saved.with_features(trained.model)
    rows = saved.predict(joint, np.concatenate([*drawn.values()]))
    features = prediction_limits.split_outputs(rows, classes, limits.folds).features
    return novelty.separation(learned.held_out_scores, limits.scores(features))


def _validation(table: pd.DataFrame, split: Path) -> pd.DataFrame:
    """Records of the val subset, with the split's groups."""
    drawn = split_table.read_split(split)[["record", "subset", "group"]]
    chosen = table.drop(columns="group").merge(drawn, on="record")
    return chosen[chosen["subset"] == "val"]


main = command.stage("train", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
