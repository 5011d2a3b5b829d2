"""A finished training: the calibrated net with what it knows of its limits, and its files."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import pandas as pd

from knee.classifier.net import design, saved
from knee.evidence.evaluation.json_contents import TrainingRecord
from knee.evidence.uncertainty import novelty, prediction_limits
from knee.location import locator_weights
from knee.reading.canonical_image import DicomRule
from knee.run import parameters
from knee.storage import artifacts, provenance
from knee.synthetic import non_radiographs

SECTIONS: Final = ("split", "oversample", "head", "train", "caution")
SHARED: Final = (  # by a model and those that it is made of
    "classes",
    "data",
    "data_fingerprint",
    "dicom",
    "locate",  # only of located knees
    "patients",
    "preprocessing",
    "rows_fingerprint",
    "split_fingerprint",
    "split_protocol",
    "synthetic",
    "synthetic_images",  # only of synthetic ones
    "typical_image",  # where there are enough images
)
DRAWN_PER_KIND: Final = 20  # non-radiographs on which the score is tried
DRAWN_SEED: Final = 42
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class FinishedTraining:
    """A trained classifier, to be calibrated as it is written."""

    model: keras.Model
    learned: prediction_limits.Learned
    best_epoch: int
    history: pd.DataFrame
    out_of_fold: pd.DataFrame  # empty of one net

    def write(
        self, facts: Mapping[str, Any], model_out: Path, history_out: Path, out_of_fold_out: Path
    ) -> None:
        """Calibrate the model and write it to the folder `model_out`, with tables beside.

        `facts` are what training.json says of the training, `classes` and `preprocessing` among
        them; the model's own are added.
        """
        saved.apply_temperature(self.model, self.learned.temperature)
        log.info("temperature %.3f", self.learned.temperature)
        record = dict(facts)
        with artifacts.staged_folder(model_out) as folder:
            record |= prediction_limits.write(self.learned, record["classes"], folder)
            if self.learned.novelty:
                record["novelty"]["non_radiographs"] = self._tried(record["preprocessing"])
            else:
                log.warning(
                    "no out-of-distribution score: the training images are too few, or their "
                    "features do not differ"
                )
            record["model_sha256"] = saved.save_model(self.model, folder / "model.keras")
            if "locate" in record:
                locator_weights.copy_to(folder, record["locate"]["weights_sha256"])
            record["best_epoch"] = self.best_epoch
            record["weights"] = int(self.model.count_params())
            record = dict(sorted(provenance.sealed(record).items()))
            artifacts.write_json(folder / "training.json", record)
        artifacts.write_text(history_out, self.history.round(6).to_csv(index=False))
        artifacts.write_text(out_of_fold_out, artifacts.as_csv(self.out_of_fold))

    def _tried(self, preprocessing: Mapping[str, Any]) -> dict[str, Any]:
        """How well the out-of-distribution score tells drawn non-radiographs from held-out ones.

        The scores themselves are for evaluate, which judges them by the test images'.
        """
        learned = self.learned
        limits = prediction_limits.PredictionLimits((), learned.thresholds, learned.novelty)
        drawn = non_radiographs.draw_all(preprocessing["side_pixels"], DRAWN_PER_KIND, DRAWN_SEED)
        found = limits.scores(saved.features(self.model, np.concatenate([*drawn.values()])))
        tried: dict[str, Any] = novelty.separation(learned.held_out_scores, found)
        if np.isfinite(found).all():
            by_kind = found.reshape(len(drawn), DRAWN_PER_KIND).tolist()
            tried |= {"scores": dict(zip(drawn, by_kind, strict=True)), "seed": DRAWN_SEED}
        return tried


def facts(
    settings: parameters.Params,
    name: str,
    classes: Sequence[str],
    *,
    features: Path,
    records: Path,
    split: Path,
    rows: Path,
) -> dict[str, Any]:
    """Return what a training called `name` is: for its checkpoints' key, its record and MLflow."""
    backbone = vars(design.read_design(features))
    sections = {key: dataclasses.asdict(getattr(settings, key)) for key in SECTIONS}
    return {
        "backbone": name,
        "classes": [*classes],
        "preprocessing": {
            "side_pixels": backbone["side_pixels"],
            "fit": settings.ingest.fit,
            "crop_borders": settings.ingest.crop_borders,
        },
        "dicom": DicomRule.of(settings.ingest).as_facts(),
        **_located(settings.locate),
        "data": settings.data.name,
        "synthetic": settings.data.synthetic,
        "split_protocol": settings.split.protocol,
        "data_fingerprint": provenance.fingerprint(records),
        "split_fingerprint": provenance.fingerprint(split),
        "rows_fingerprint": provenance.fingerprint(rows),
        "parameters": provenance.flatten({"backbone": backbone, **sections}),
    }


def _located(locate: parameters.Locate) -> dict[str, Any]:
    """How the knees of films were found, if images were cut from films."""
    if not locate.locators:
        return {}
    weights = locator_weights.recorded_sha256()
    boxes = {"box_widths": locate.box_widths, "box_millimetres": locate.box_millimetres}
    return {"locate": {**boxes, "weights_sha256": weights}}


def derived_facts(name: str, made_of: Sequence[TrainingRecord]) -> dict[str, Any]:
    """Return what a model called `name` is that is made of trained ones, of the same records."""
    records: list[dict[str, Any]] = [{**one} for one in made_of]
    return {
        **{key: records[0][key] for key in SHARED if key in records[0]},
        "backbone": name,
        "made_of": {one["backbone"]: one["model_sha256"] for one in records},
        "parameters": {**records[0]["parameters"], "backbone.name": name},
    }
