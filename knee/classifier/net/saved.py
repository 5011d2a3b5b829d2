"""Models on disk: written beside and moved into place, read in Keras' safe mode."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from knee.storage import artifacts, provenance
from knee.storage.arrays import Images, Pixels
from knee.storage.artifacts import ArtifactError


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
