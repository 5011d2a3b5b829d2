"""A saved model on an engine: canonical pixels -> probabilities and features, in one pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from knee.classifier.features import engines
from knee.classifier.features.engines import Engine
from knee.classifier.net import model_outputs, saved
from knee.evidence.uncertainty.prediction_limits import Observed


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
        joint = model_outputs.with_features(loaded)
        self._forward: engines.Forward
        if engine.name == "openvino":
            self._forward = engines.OpenVinoForward(joint, engine.precision)
        else:
            from knee.classifier.net import devices

            self._forward = engines.TensorFlowForward(joint, devices.strategy(1))
        (self.classes,) = loaded.output.shape[1:]

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> Observed:
        """Probabilities and features of `pixels`, uint8 (n, side, side)."""
        rows = np.empty((len(pixels), *self._forward.output_shape), np.float32)
        self._forward.fill(pixels, rows)
        return model_outputs.split_outputs(rows, self.classes)
