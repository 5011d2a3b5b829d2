"""TensorFlow in a process of its own, for a server that answers with OpenVINO.

Two libraries that both want the process' signals and threads bring each other down, so the server
has OpenVINO alone. What needs TensorFlow happens here: once the conversion of the saved model, by
the code of the batch prediction, then Grad-CAM overlays, by the code of evaluate. The process
answers one question at a time over its standard input and output, and ends with the one that
started it, however that ends. Importable without TensorFlow.

python -m knee.classifier.inference.gradient_worker MODEL.keras SHA256 GRAPH.xml
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from knee.run.errors import UserError
from knee.storage import provenance
from knee.storage.arrays import Pixels

QUESTION: Final = struct.Struct("<IQ")  # class index, side of the square image that follows
ANSWER: Final = struct.Struct("<Q")  # bytes of the PNG that follows
READY: Final = b"R"
START_SECONDS: Final = 600.0  # TensorFlow's start and the conversion, on a busy machine
ROOT: Final = Path(__file__).parents[3]  # where the package lies


class GradientProcessError(UserError):
    """The process with TensorFlow does not start, broke down or took too long."""


class GradientProcess:
    """The process and what it is asked; threads may share it."""

    def __init__(self, model: Path, sha256: str, graph: Path, longest_seconds: float) -> None:
        """Start it and wait until `graph` is written.

        Args:
            model: .keras file.
            sha256: any other file is refused.
            graph: .xml, of raw pixels -> probabilities and averaged features.
            longest_seconds: for one overlay.

        Raises:
            GradientProcessError: it did not come up, or the file is another one.
        """
        if not model.is_file() or provenance.fingerprint(model) != sha256:
            raise GradientProcessError(f"{model.name} is not the model that its training recorded")
        self._command = [str(model), sha256, str(graph)]
        self._longest_seconds = longest_seconds
        self._lock = threading.Lock()
        self._process = self._started()

    def overlay(self, pixels: Pixels, class_index: int) -> bytes:
        """PNG of the film under the heat of a class, of `pixels`, uint8 (side, side).

        Raises:
            GradientProcessError: twice in a row there was no answer.
        """
        question = QUESTION.pack(class_index, len(pixels)) + np.ascontiguousarray(pixels).tobytes()
        with self._lock:
            for _ in range(2):
                answer = self._asked(question)
                if answer is not None:
                    return answer
                _end(self._process)
                self._process = self._started()
        raise GradientProcessError("no Grad-CAM map: the process that draws it broke down")

    def close(self) -> None:
        """End the process."""
        with self._lock:
            _end(self._process)

    def _started(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "knee.classifier.inference.gradient_worker", *self._command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "tensorflow"},
        )
        with _limited(process, START_SECONDS):
            came = _out(process).read(1)
        if came != READY:
            _end(process)
            raise GradientProcessError("the model cannot be loaded or converted: see above")
        return process

    def _asked(self, question: bytes) -> bytes | None:
        process = self._process
        with _limited(process, self._longest_seconds):
            try:
                _into(process).write(question)
                _into(process).flush()
            except OSError:
                return None
            head = _out(process).read(ANSWER.size)
            if len(head) < ANSWER.size:
                return None
            (size,) = ANSWER.unpack(head)
            answer = _out(process).read(size)
        return answer if len(answer) == size else None


@contextlib.contextmanager
def _limited(process: subprocess.Popen[bytes], seconds: float) -> Iterator[None]:
    """Kill the process if what is inside takes longer: then its pipes end."""
    timer = threading.Timer(seconds, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _into(process: subprocess.Popen[bytes]) -> BinaryIO:
    return process.stdin  # type: ignore[return-value]  # a pipe, by how it was started


def _out(process: subprocess.Popen[bytes]) -> BinaryIO:
    return process.stdout  # type: ignore[return-value]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    with contextlib.suppress(OSError):  # what was never sent goes nowhere
        process.communicate()


def _serve(model: Path, sha256: str, graph: Path, questions: BinaryIO, answers: BinaryIO) -> None:
    """Write the graph, say so, and answer until there is no question."""
    from knee.classifier.attribution import grad_cam
    from knee.classifier.features import engines
    from knee.classifier.net import model_outputs, saved
    from knee.drawing import contact_sheets

    engines.openvino()  # before Keras imports it: nothing is to be reported to anybody
    loaded = saved.load_model(model, sha256)
    model_outputs.with_features(loaded).export(str(graph), format="openvino", verbose=False)
    answers.write(READY)
    answers.flush()
    halves = grad_cam.halves(loaded)
    while len(head := questions.read(QUESTION.size)) == QUESTION.size:
        class_index, side = QUESTION.unpack(head)
        pixels = np.frombuffer(questions.read(side * side), np.uint8).reshape(side, side)
        (heat,) = grad_cam.grad_cam(halves, pixels[np.newaxis], np.array([class_index]))
        picture = io.BytesIO()
        contact_sheets.overlay(pixels, heat, side).save(picture, format="PNG")
        answers.write(ANSWER.pack(len(picture.getvalue())) + picture.getvalue())
        answers.flush()


def _main(model: str, sha256: str, graph: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the end of the input is the end
    with os.fdopen(os.dup(1), "wb") as answers:  # whatever the libraries print is no answer
        os.dup2(2, 1)
        _serve(Path(model), sha256, Path(graph), sys.stdin.buffer, answers)


if __name__ == "__main__":
    _main(*sys.argv[1:])
