"""Answers of a trained model as it was trained: the net is converted, and heat maps are drawn."""

from __future__ import annotations

import contextlib
from pathlib import Path

from knee.classifier.features import engines
from knee.classifier.inference import converted
from knee.classifier.inference.gradient_worker import GradientProcess
from knee.classifier.net.trained_model import TrainedModel
from knee.prediction import request_images
from knee.prediction.graph_answers import GraphAnswers
from knee.storage.arrays import Pixels


class Answers(GraphAnswers):
    """A model that is ready to answer; threads may share it."""

    explains = True

    def __init__(
        self, trained: TrainedModel, cache: Path | None = None, *, synthetic_model_ok: bool = False
    ) -> None:
        """Load the net; `trained.folder` has to stay until `close`.

        The process with TensorFlow is started where the net has to be converted, else by the first
        image that is to be explained. The converted net is kept in the folder `cache`, if any.

        A model of synthetic images refuses others, unless `synthetic_model_ok`.

        Raises:
            GradientProcessError: the net is missing, is not the recorded one, or cannot be loaded.
            EngineError: OpenVINO is not installed.
        """
        engines.choose("openvino", "float32")
        with contextlib.ExitStack() as begun:
            digest = trained.training["model_sha256"]
            self._gradients = GradientProcess(
                trained.net.resolve(), digest, request_images.EXPLAIN_SECONDS
            )
            begun.callback(self._gradients.close)
            graph = begun.enter_context(converted.graph(digest, cache, self._gradients.convert))
            super().__init__(trained, graph, synthetic_model_ok=synthetic_model_ok)
            begun.callback(super().close)
            self._held = begun.pop_all()

    def overlay(self, pixels: Pixels, class_index: int) -> bytes:
        """See `GraphAnswers`.

        Raises:
            GradientProcessError: twice in a row there was no answer.
        """
        return self._gradients.overlay(pixels, class_index)

    def close(self) -> None:
        """End the processes and threads."""
        self._held.close()
