"""A saved model on an engine: canonical pixels -> probabilities and features, in one pass."""

from __future__ import annotations

import queue
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from knee.classifier.features import engines
from knee.classifier.features.engines import OPENVINO_TYPES, Engine, Precision, openvino
from knee.classifier.net import model_outputs, saved
from knee.evidence.uncertainty.prediction_limits import Observed
from knee.storage.arrays import Pixels


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


class CompiledNet:
    """Raw pixels of one image -> one row; threads share it."""

    def __init__(self, graph: Path, side_pixels: int, precision: Precision = "float32") -> None:
        """Compile the graph (.xml) for single uint8 images (1, side, side, 1)."""
        package = openvino()
        core = package.Core()
        read = core.read_model(graph)
        read.reshape([1, side_pixels, side_pixels, 1])
        steps = package.preprocess.PrePostProcessor(read)
        steps.input().tensor().set_element_type(package.Type.u8)
        compiled = core.compile_model(
            steps.build(),
            "CPU",
            {
                "PERFORMANCE_HINT": "THROUGHPUT",
                "INFERENCE_PRECISION_HINT": OPENVINO_TYPES[precision],
            },
        )
        count = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(count):
            self._idle.put(compiled.create_infer_request())

    def __call__(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """(outputs,) of `pixels`, uint8 (side, side)."""
        request = self._idle.get()
        try:
            request.infer({0: np.ascontiguousarray(pixels)[np.newaxis, ..., np.newaxis]})
            return np.array(request.get_output_tensor(0).data[0], np.float32)
        finally:
            self._idle.put(request)
