"""A net that a file holds in OpenVINO's form, for many threads that each bring one image.

Importable without OpenVINO, and never starts TensorFlow.
"""

from __future__ import annotations

import queue
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from knee.classifier.features.engines import OPENVINO_TYPES, Precision, openvino
from knee.storage.arrays import Pixels


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
        # OpenVINO's bindings set NumPy up at their first array: two threads that begin together
        # wait for each other for ever.
        self(np.zeros((side_pixels, side_pixels), np.uint8))

    def __call__(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """(outputs,) of `pixels`, uint8 (side, side)."""
        request = self._idle.get()
        try:
            request.infer({0: np.ascontiguousarray(pixels)[np.newaxis, ..., np.newaxis]})
            return np.array(request.get_output_tensor(0).data[0], np.float32)
        finally:
            self._idle.put(request)
