"""Train one net on the answers of its backbone's ensemble: one more model, cheap to serve.

It learns from the members of one fold and is judged and calibrated by the images of this fold,
which neither it nor they have seen. A killed training goes on from its last epoch when the same
command is given again.
"""

from __future__ import annotations

import dataclasses
import shutil
import uuid
from pathlib import Path

from knee import tracking
from knee.classifier.features import feature_source
from knee.classifier.net.trained_model import TrainedModel
from knee.classifier.training import distillation, finished_training, presets
from knee.classifier.training.checkpoints import Checkpoints
from knee.classifier.training.fold_training import Recipe
from knee.evidence.evaluation.predictions import read_predictions
from knee.records import records_table
from knee.run import command, parameters
from knee.storage import artifacts, provenance


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage reads and writes."""

    backbone: str = command.flag("name of the backbone")
    features: Path = command.flag("folder of embed")
    pixels: Path = command.flag("canonical pixels of ingest")
    records: Path = command.flag("records table of ingest")
    split: Path = command.flag("split table of split")
    model: Path = command.flag("the ensemble, folder of train")
    members: Path = command.flag("the ensemble's out-of-fold predictions, of train")
    checkpoints: Path = command.flag("folder for the state of an unfinished training")
    model_out: Path = command.flag("folder of model.keras and training.json")
    history_out: Path = command.flag("CSV file: losses and accuracies of each epoch")
    out_of_fold_out: Path = command.flag("CSV file: predictions of the fold that was held back")


def run(settings: parameters.Params, paths: Paths) -> None:
    """Train the net that learns from the ensemble of `backbone`; write `model_out`, and tables."""
    table, teacher = records_table.read_records(paths.records), TrainedModel.read(paths.model)
    classes, name = records_table.class_names(table), parameters.distilled_name(paths.backbone)
    teacher.check_origin(paths.backbone, classes, records=paths.records, split=paths.split)
    members = read_predictions(artifacts.read_bytes(paths.members))
    settings = presets.resolved(settings, len(members))
    facts = finished_training.derived_facts(name, [teacher.training])
    facts["parameters"] |= {"train.label_smoothing": distillation.LABEL_SMOOTHING}
    checkpoints = Checkpoints(paths.checkpoints, provenance.key(facts))
    facts["execution"] = uuid.uuid4().hex
    with tracking.training_run(tracking.labels(facts)) as tracked:
        finished = distillation.distil(
            Recipe.of(settings, name, paths.features, len(classes)),
            teacher,
            members.merge(table[["record", "pixel_row"]], on="record"),
            feature_source.open_source(paths.features, paths.pixels),
            settings.caution,
            checkpoints,
            tracked.log_epoch,
        )
        finished.write(facts, paths.model_out, paths.history_out, paths.out_of_fold_out)
    shutil.rmtree(paths.checkpoints, ignore_errors=True)


main = command.stage("distil", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
