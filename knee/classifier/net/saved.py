"""Trained models on disk: one folder with the net, the training's record, and its uncertainty.

Nets are written beside and moved into place, and read in Keras' safe mode. Keras is imported where
it is used: a record can be read without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from knee.evidence.evaluation.json_contents import TrainingRecord
from knee.evidence.uncertainty import prediction_limits
from knee.evidence.uncertainty.prediction_limits import PredictionLimits
from knee.reading.canonical_image import Canonical
from knee.storage import artifacts, provenance
from knee.storage.arrays import Images, Pixels
from knee.storage.artifacts import ArtifactError
from knee.storage.json_files import read_json

if TYPE_CHECKING:
    import keras

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
        folder: holds model.keras, training.json and, of a model that has one, novelty.npz.
        name: of the registered model, or the folder as the user named it.
        version: of the registered model; "" for a folder.
        training: content of training.json.
        canonical: how an image file becomes the net's input.
        limits: the model's uncertainty.
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

        Args:
            folder: of the model.
            name: of the registered model, or what the user calls the folder.
            version: of the registered model.
            maximum_megapixels: larger images are refused unread.

        Raises:
            ArtifactError: a file is missing, damaged, or not the recorded one.
        """
        file = folder / "training.json"
        training = cast(TrainingRecord, read_json(file, NEEDED))
        try:
            canonical = Canonical(
                **training["preprocessing"], maximum_megapixels=maximum_megapixels
            )
        except TypeError as error:
            raise ArtifactError(
                f"{file}: preprocessing has other keys than this version's: train the model again"
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
        """Check that the training was of this backbone and on the present data.

        Args:
            backbone: whose it has to be.
            class_names: the records' classes.
            records: the records table's file.
            split: the split table's file.

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

    def load(self) -> keras.Model:
        """Load the net; `ArtifactError` where it is missing or not the recorded one."""
        return load_model(self.net, self.training["model_sha256"])


def save_model(model: keras.Model, path: Path) -> str:
    """Write `model` to `path` (.keras) and return the file's SHA-256."""
    with artifacts.staged_file(path) as staged:
        model.save(staged)
    return provenance.fingerprint(path)


def load_model(path: Path, sha256: str | None = None) -> keras.Model:
    """Load the model in `path`, without compilation; no code in the file is run.

    Args:
        path: a .keras file.
        sha256: refuse any other file.

    Raises:
        ArtifactError: the file is missing or has another SHA-256.
    """
    import keras

    if not path.is_file():
        raise ArtifactError(f"{path} does not exist: run `dvc repro` to train it")
    if sha256 is not None and provenance.fingerprint(path) != sha256:
        raise ArtifactError(
            f"{path} is not the model that its training recorded: run `dvc repro` to rebuild it"
        )
    return keras.models.load_model(path, compile=False, safe_mode=True)


def predict(model: keras.Model, pixels: Pixels, batch_size: int = 32) -> Images:
    """Return probabilities (rows, classes) of raw pixels (rows, side, side), 0-255."""
    images = np.asarray(pixels, np.float32)[..., np.newaxis]
    probabilities = model.predict(images, batch_size=batch_size, verbose=0)
    return np.asarray(probabilities, np.float32)
