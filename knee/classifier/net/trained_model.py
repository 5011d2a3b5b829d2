"""A trained model's folder, read and checked, for every command that uses a model.

training.json has the digests of all other files of the folder, and one of itself. Keras is imported
where the net is loaded: a record can be read without it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from knee.classifier.net import model_file
from knee.evidence.evaluation.json_contents import TrainingRecord
from knee.evidence.uncertainty import prediction_limits
from knee.evidence.uncertainty.prediction_limits import PredictionLimits
from knee.reading.canonical_image import Canonical, DicomRule
from knee.storage import provenance
from knee.storage.artifacts import ArtifactError, read_json

if TYPE_CHECKING:
    import keras

log = logging.getLogger(__name__)

NEEDED: Final = (
    "backbone",
    "classes",
    "model_sha256",
    "preprocessing",
    "split_protocol",
    "synthetic",
)


@dataclass(frozen=True)
class TrainedModel:
    """A trained model's folder, read and checked; the net in it is left to an engine, or `load`.

    Attributes:
        folder: holds model.keras, training.json and, of a model that has them, novelty.npz (of the
            out-of-distribution score) and knees.npz (which located its knees on films).
        name: of the registered model, or the folder as the user named it.
        version: of the registered model; "" for a folder.
        training: content of training.json.
        canonical: how an image file becomes the net's input.
        limits: of the model's knowledge: temperature, prediction sets, out-of-distribution scores.
    """

    folder: Path
    name: str
    version: str
    training: TrainingRecord
    canonical: Canonical
    limits: PredictionLimits

    @classmethod
    def read(
        cls, folder: Path, name: str = "", version: str = "", maximum_megapixels: float = 64.0
    ) -> TrainedModel:
        """Read what the stage train wrote to `folder`, or a copy of it.

        Images larger than `maximum_megapixels` will be refused unread.

        Raises:
            ArtifactError: a file is missing, damaged, or not the recorded one.
        """
        file = folder / "training.json"
        training = cast(TrainingRecord, read_json(file, NEEDED))
        _check_record(training, file)
        try:
            canonical = Canonical(
                **training["preprocessing"],
                maximum_megapixels=maximum_megapixels,
                typical_image=training.get("typical_image", ""),
                dicom=DicomRule(**training.get("dicom", {})),  # none in earlier versions' records
            )
        except TypeError as error:
            raise ArtifactError(
                f"{file}: preprocessing has other keys than this version's, or dicom has: "
                "train the model again"
            ) from error
        limits = prediction_limits.read(folder, training)
        return cls(folder, name, version, training, canonical, limits)

    @property
    def net(self) -> Path:
        """The .keras file; its SHA-256 has to be training["model_sha256"]."""
        return self.folder / "model.keras"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the probabilities."""
        return tuple(self.training["classes"])

    def check_origin(
        self, backbone: str, class_names: Sequence[str], *, records: Path, split: Path
    ) -> None:
        """Check that the training was of this backbone and on these files of records and split.

        Raises:
            ArtifactError: it was of another backbone, data or split.
        """
        expected = {
            "backbone": backbone,
            "classes": list(class_names),
            "data_fingerprint": provenance.fingerprint(records),
            "split_fingerprint": provenance.fingerprint(split),
        }
        file = self.folder / "training.json"
        training = read_json(file, ("best_epoch", *expected))
        for name, value in expected.items():
            if training[name] != value:
                raise ArtifactError(
                    f"{file}: {name} is {training[name]}, here it is {value}: "
                    "run `dvc repro` to train on the present data"
                )

    def check_net(self) -> None:
        """Check the file of the net by its digest.

        Raises:
            ArtifactError: it is missing or not the recorded one.
        """
        model_file.check(self.net, self.training["model_sha256"])

    def load(self) -> keras.Model:
        """Load the net; `ArtifactError` where it is missing or not the recorded one."""
        from knee.classifier.net import saved  # Keras

        return saved.load_model(self.net, self.training["model_sha256"])


def _check_record(training: TrainingRecord, file: Path) -> None:
    """Check that the record is what training wrote: its classes name the answers."""
    if provenance.seal_is_broken(training):
        raise ArtifactError(
            f"{file} was changed or damaged after training: put the file back as it was, or run "
            "`dvc repro` to train the model again"
        )
    if provenance.SEAL not in training:
        log.warning("%s has no digest (an earlier version wrote it): changes go unnoticed", file)
    classes = training["classes"]
    if not isinstance(classes, list) or len(classes) < 2 or set(map(type, classes)) != {str}:
        raise ArtifactError(f"{file}: classes: expected two names or more; run `dvc repro`")
