"""TensorFlow in a process of its own, for a server that answers with OpenVINO.

Two libraries that both want the process' signals and threads bring each other down, so the server
has OpenVINO alone. What needs TensorFlow happens here: once the conversion of the saved model, by
the code of the batch prediction, then Grad-CAM overlays, by the code of evaluate. Importable
without TensorFlow.

python -m knee.classifier.inference.gradient_worker MODEL.keras SHA256 [GRAPH.xml]
"""

from __future__ import annotations

import functools
import io
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from knee.run import worker
from knee.run.errors import UserError
from knee.run.worker import Worker, WorkerError
from knee.storage import provenance
from knee.storage.arrays import Pixels

QUESTION: Final = struct.Struct("<IQ")  # class index, side of the square image that follows
START_SECONDS: Final = 600.0  # TensorFlow's start and the conversion, on a busy machine


class GradientProcessError(UserError):
    """The process with TensorFlow does not start, broke down or took too long."""


class GradientProcess:
    """The process and what it is asked; threads may share it."""

    def __init__(self, model: Path, sha256: str, longest_seconds: float) -> None:
        """Remember what to load; the process is started when something is asked of it.

        Raises:
            GradientProcessError: the file `model` has another digest.
        """
        if not model.is_file() or provenance.fingerprint(model) != sha256:
            raise GradientProcessError(f"{model.name} is not the model that its training recorded")
        module = "knee.classifier.inference.gradient_worker"
        self._command = ["-m", module, str(model), sha256]
        self._longest_seconds = longest_seconds
        self._lock = threading.Lock()
        self._worker: Worker | None = None

    def convert(self, graph: Path) -> None:
        """Start it and wait until `graph` (.xml) is written: probabilities and averaged features.

        Raises:
            GradientProcessError: it did not come up.
        """
        with self._lock:
            self._worker = self._start(str(graph))

    def overlay(self, pixels: Pixels, class_index: int) -> bytes:
        """Return the PNG of `pixels`, uint8 (side, side), under the heat of a class.

        Raises:
            GradientProcessError: twice in a row there was no answer.
        """
        question = QUESTION.pack(class_index, len(pixels)) + np.ascontiguousarray(pixels).tobytes()
        with self._lock:
            for _ in range(2):
                try:
                    self._worker = self._worker or self._start()
                    return self._worker.ask(question, self._longest_seconds)
                except WorkerError:
                    self._worker = None
        raise GradientProcessError("no Grad-CAM map: the process that draws it broke down")

    def close(self) -> None:
        """End the process."""
        with self._lock:
            if self._worker:
                self._worker.end()

    def _start(self, *graph: str) -> Worker:
        try:
            return Worker([*self._command, *graph], START_SECONDS)
        except WorkerError:
            text = "the model cannot be loaded or converted: see above"
            raise GradientProcessError(text) from None


def _prepare(model: Path, sha256: str, *graphs: str) -> Callable[[bytes], bytes]:
    """Load the model, write the graphs, and return the function from question to PNG."""
    from knee.classifier.attribution import grad_cam
    from knee.classifier.features import engines
    from knee.classifier.net import saved
    from knee.drawing import contact_sheets

    engines.openvino()  # before Keras imports it: nothing is to be reported to anybody
    loaded = saved.load_model(model, sha256)
    for graph in graphs:
        engines.export_graph(saved.with_features(loaded), Path(graph))
    halves = grad_cam.halves(loaded)

    def answer(question: bytes) -> bytes:
        class_index, side = QUESTION.unpack_from(question)
        pixels = np.frombuffer(question, np.uint8, offset=QUESTION.size).reshape(side, side)
        (heat,) = grad_cam.grad_cam(halves, pixels[np.newaxis], np.array([class_index]))
        image = io.BytesIO()
        contact_sheets.overlay(pixels, heat, side).save(image, format="PNG")
        return image.getvalue()

    return answer


if __name__ == "__main__":
    file, digest, *targets = sys.argv[1:]
    worker.serve(functools.partial(_prepare, Path(file), digest, *targets))
