"""A saved model on an engine: canonical pixels -> probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from stages.classifier import engines, saved
from stages.classifier.engines import Engine


class Predictor:
    """A whole classifier, ready to run.

    Attributes:
        classes: number of classes.
    """

    def __init__(self, model: Path, sha256: str, engine: Engine) -> None:
        """Load the .keras file `model`, if it has this SHA-256.

        Raises:
            ModelFileError: it is missing, or another file.
        """
        loaded = saved.load_model(model, sha256)
        self._forward: engines.Forward
        if engine.name == "openvino":
            self._forward = engines.OpenVinoForward(loaded, engine.precision)
        else:
            from stages.classifier import devices

            self._forward = engines.TensorFlowForward(loaded, devices.strategy(1))
        (self.classes,) = self._forward.output_shape

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Probabilities (n, classes) of `pixels`, uint8 (n, side, side)."""
        probabilities = np.empty((len(pixels), self.classes), np.float32)
        self._forward.fill(pixels, probabilities)
        return probabilities
