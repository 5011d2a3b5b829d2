"""The classifier as MLflow loads and serves it; a copy of this file lies in every logged model.

MLflow runs the copy ("models from code"), so nothing is pickled and the copy imports nothing of
this project. Input: float32 (images, side, side, 1), grayscale 0-255. Output: float32
(images, classes), probabilities.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.exceptions import INVALID_PARAMETER_VALUE, MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

BATCH_SIZE = 32
MAXIMUM_IMAGES = 1024  # in one request


class RadiographClassifier(PythonModel):  # type: ignore[misc]  # mlflow is untyped here
    """Raw radiographs -> probabilities, refusing what is no radiograph."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the saved Keras model in safe mode, if it is the one that was logged."""
        import keras

        path = Path(context.artifacts["model"])
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != context.model_config["model_sha256"]:
            raise MlflowException(f"{path.name} is not the model that was logged", 1)
        self._model = keras.models.load_model(path, compile=False, safe_mode=True)

    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,  # MLflow knows the bare type alone
        params: dict[str, Any] | None = None,  # noqa: ARG002  # MLflow's signature
    ) -> np.ndarray:
        """Probabilities, float32 (images, classes), of pixels (images, side, side, 1)."""
        side = int(context.model_config["side_pixels"])
        images = np.asarray(model_input, np.float32)
        if images.ndim != 4 or images.shape[1:] != (side, side, 1):
            _refuse(f"expected images of shape (images, {side}, {side}, 1), got {images.shape}")
        if not 1 <= len(images) <= MAXIMUM_IMAGES:
            _refuse(f"expected 1-{MAXIMUM_IMAGES} images, got {len(images)}")
        if not np.isfinite(images).all() or images.min() < 0 or images.max() > 255:
            _refuse("expected finite pixels between 0 and 255")
        return np.asarray(self._model.predict(images, batch_size=BATCH_SIZE, verbose=0), np.float32)


def _refuse(message: str) -> None:
    raise MlflowException(message, error_code=INVALID_PARAMETER_VALUE)


set_model(RadiographClassifier())
