"""A trained model's folder, read and checked; the net in it is left to an engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from knee.evidence.uncertainty import prediction_limits
from knee.reading.canonical_image import Canonical
from knee.storage import json_files
from knee.storage.artifacts import ArtifactError

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
    """What a training wrote beside its net.

    Attributes:
        folder: holds model.keras, training.json and, of a model that has one, novelty.npz.
        name: of the registered model, or the folder as the user named it.
        version: of the registered model; "" for a folder.
        training: content of training.json.
        canonical: how an image file becomes the net's input.
        limits: prediction sets and out-of-distribution score.
    """

    folder: Path
    name: str
    version: str
    training: dict[str, Any]
    canonical: Canonical
    limits: prediction_limits.Caution

    @classmethod
    def read(
        cls, folder: Path, name: str = "", version: str = "", maximum_megapixels: float = 64.0
    ) -> TrainedModel:
        """Read what `train` wrote to `folder`, or a copy of it.

        Args:
            folder: of the model.
            name: of the registered model, or what the user calls the folder.
            version: of the registered model.
            maximum_megapixels: larger images are refused unread.

        Raises:
            ArtifactError: training.json is missing or damaged, or lacks something.
            CautionError: novelty.npz is missing or is not the recorded one.
        """
        file = folder / "training.json"
        training = json_files.read_json(file, NEEDED)
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
        """The .keras file."""
        return self.folder / "model.keras"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the probabilities."""
        return tuple(self.training["classes"])
