"""A trained model's folder, read and checked; the net in it is left to an engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from knee.evidence.uncertainty import prediction_limits
from knee.reading.canonical_image import Canonical
from knee.storage import json_files
from knee.storage.artifacts import ArtifactError

REQUIRED_KEYS: Final = (
    "backbone",
    "classes",
    "model_sha256",
    "preprocessing",
    "split_protocol",
    "synthetic",
)


@dataclass(frozen=True)
class Trained:
    """What a training wrote beside its net.

    Attributes:
        folder: holds model.keras, training.json and, of a model that has one, novelty.npz.
        training: content of training.json.
        limits: prediction sets and out-of-distribution score.
    """

    folder: Path
    training: dict[str, Any]
    limits: prediction_limits.Caution

    @classmethod
    def read(cls, folder: Path) -> Trained:
        """Read what `train` wrote to `folder`, or a copy of it.

        Raises:
            ArtifactError: training.json is missing or damaged, or lacks something.
            CautionError: novelty.npz is missing or is not the recorded one.
        """
        training = json_files.read_json(folder / "training.json", REQUIRED_KEYS)
        return cls(folder, training, prediction_limits.read(folder, training))

    @property
    def net_file(self) -> Path:
        """The .keras file; its SHA-256 has to be training["model_sha256"]."""
        return self.folder / "model.keras"

    def canonical(self, maximum_megapixels: float) -> Canonical:
        """Return how an image becomes the net's input; larger ones are refused unread.

        Raises:
            ArtifactError: the model was trained with other preprocessing than this code has.
        """
        settings = self.training["preprocessing"]
        try:
            return Canonical(**settings, maximum_megapixels=maximum_megapixels)
        except TypeError as error:
            raise ArtifactError(
                f"{self.folder / 'training.json'}: preprocessing has other keys than this "
                "version's: train the model again"
            ) from error
