"""Explain what one trained backbone says of test images, and check the explanations.

Grad-CAM and occlusion of the predicted class; docs/judging.md says what is measured of them.
Nothing here chooses anything. The stage register sends figures and picture to MLflow.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.classifier.attribution import grad_cam, occlusion, randomisation
from knee.classifier.features import engines
from knee.classifier.net import devices
from knee.classifier.net.trained_model import TrainedModel
from knee.drawing import contact_sheets
from knee.evidence.evaluation import evaluation_report, predictions
from knee.evidence.explanation import bone_masks, explanation_report
from knee.reading.canonical_image import Canonical
from knee.records import records_table
from knee.run import command, parameters
from knee.splits import split_table
from knee.statistics.bootstrap import Bootstrap
from knee.storage import artifacts, row_files
from knee.storage.arrays import Maps

if TYPE_CHECKING:
    import tensorflow as tf

TITLES = {"grad_cam": "Grad-CAM", "occlusion": "occlusion"}
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage reads and writes."""

    backbone: str = command.flag("name of the backbone")
    records: Path = command.flag("records table of ingest")
    pixels: Path = command.flag("canonical pixels of ingest")
    split: Path = command.flag("split table of split")
    split_metrics: Path = command.flag("figures of split")
    bone_masks: Path = command.flag("folder of bone masks; conf/no_bone_masks: none")
    model: Path = command.flag("folder of train")
    explanation_out: Path = command.flag("JSON file of all figures")
    headline_out: Path = command.flag("JSON file of what fits DVC's table")
    picture_out: Path = command.flag("PNG of the maps")


def run(settings: parameters.Params, paths: Paths) -> None:
    """Explain images of `backbone`; write figures and a sheet of maps."""
    chosen = settings.explain
    trained, facts, shown = _read(chosen, paths)
    classes = trained.training["classes"]
    rows = shown["pixel_row"].to_numpy()
    pixels = row_files.PixelFile(paths.pixels, rows)[rows]
    canonical = Canonical(
        pixels.shape[1],
        settings.ingest.fit,
        settings.ingest.maximum_megapixels,
        settings.ingest.crop_borders,
    )
    bone = bone_masks.read_masks(paths.bone_masks, shown, canonical)
    patch = occlusion.Patch(chosen.patch_share, chosen.stride_share)
    devices.make_deterministic(chosen.seed)
    model = grad_cam.halves(trained.load())
    features = model.maps_of(pixels)
    probabilities = model.probabilities(features)
    predicted = predictions.with_probabilities(shown[predictions.KEPT], probabilities, classes)
    engine = engines.choose(settings.embed.engine, settings.embed.precision)
    predicted_classes = probabilities.argmax(axis=1)
    maps, redrawn = _maps(chosen, engine, model, pixels, features, predicted_classes, patch)
    bootstrap = Bootstrap(chosen.bootstrap_draws, chosen.interval_level, chosen.seed)
    images = explanation_report.GroupedImages(shown["group"].to_numpy(), bootstrap)
    labels, cells = shown["label"].tolist(), patch.positions
    report = facts | explanation_report.report(
        labels, classes, maps, redrawn, bone, cells=cells, images=images
    )
    _picture(chosen, pixels, maps, predicted, evaluation_report.subtitle(facts), paths.picture_out)
    artifacts.write_json(paths.explanation_out, report)
    artifacts.write_json(paths.headline_out, explanation_report.dvc_metrics(report))
    said = explanation_report.sentence(report, TITLES)
    log.info("%s: %s", evaluation_report.subtitle(facts), said)


def _read(
    chosen: parameters.Explain, paths: Paths
) -> tuple[TrainedModel, dict[str, Any], pd.DataFrame]:
    """The trained model, what the report says of its origin, and the chosen test records."""
    table = records_table.read_records(paths.records)
    trained = TrainedModel.read(paths.model)
    classes = records_table.class_names(table)
    trained.check_origin(paths.backbone, classes, records=paths.records, split=paths.split)
    training = trained.training
    split_metrics = evaluation_report.read_split_metrics(paths.split_metrics, training)
    test = predictions.held_out(table, split_table.read_split(paths.split), ["test"])
    rows = explanation_report.rows_to_explain(test, chosen.images, chosen.seed)
    shown = test.iloc[rows].reset_index(drop=True)
    facts = {
        "backbone": training["backbone"],
        "model_sha256": training["model_sha256"],
        "synthetic": training["synthetic"],
        "split_protocol": training["split_protocol"],
        "leaky": split_metrics["leaky"],
        "records": len(shown),
        "groups": int(shown["group"].nunique()),
    }
    return trained, facts, shown


def _maps(
    chosen: parameters.Explain,
    engine: engines.Engine,
    learned: grad_cam.Halves,
    pixels: npt.NDArray[np.uint8],
    features: tf.Tensor,
    classes: npt.NDArray[np.int64],
    patch: occlusion.Patch,
) -> tuple[dict[str, Maps], dict[str, dict[str, Maps]]]:
    """Maps of each method: of the model, and of each level of weights that are drawn anew.

    `features` are the model's feature maps of `pixels`.
    """
    levels = randomisation.cascade(learned, pixels, chosen.seed)
    models = [learned, *levels.values()]
    most = chosen.most_forward_passes
    hidden = occlusion.occlusion(models, pixels, classes, patch, most_passes=most, engine=engine)
    side, pairs = pixels.shape[1], []
    for one, drop in zip(models, hidden, strict=True):
        seen = features if one.upper is learned.upper else one.maps_of(pixels)
        pairs.append({"grad_cam": grad_cam.of_maps(one, seen, classes, side), "occlusion": drop})
    return pairs[0], dict(zip(levels, pairs[1:], strict=True))


def _picture(
    chosen: parameters.Explain,
    pixels: npt.NDArray[np.uint8],
    maps: Mapping[str, Maps],
    predicted: pd.DataFrame,
    subtitle: str,
    out: Path,
) -> None:
    rows = explanation_report.of_each_class(predicted, chosen.images_shown)
    heats = [explanation_report.as_heat(values[rows]) for values in maps.values()]
    title = " | ".join(["film", *(TITLES[name] for name in maps)])
    shown = predicted.iloc[rows].reset_index(drop=True)
    contact_sheets.heat_maps(pixels[rows], heats, shown, title, subtitle, out)


main = command.stage("explain", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
