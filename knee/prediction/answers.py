"""A trained model's folder -> answers to images: the numbers of stages.predict, as JSON values."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from knee.classifier.features import engines
from knee.classifier.inference.compiled import CompiledNet
from knee.classifier.inference.gradient_worker import GradientProcess
from knee.evidence.uncertainty import prediction_limits
from knee.prediction import films, request_limits
from knee.reading.canonical_image import Canonical
from knee.statistics import scores
from knee.storage.arrays import Pixels

SYNTHETIC: Final = "the model was trained on synthetic films: its answers say nothing of patients"
LEAKY: Final = "the model's figures are of a split with copies on both sides"


@dataclass(frozen=True)
class Answered:
    """One film's answer.

    Attributes:
        values: as they go out, JSON values alone.
        film: canonical pixels, uint8 (side, side): what the model saw.
        overlay: PNG of the film under the heat of the answered class; None if not asked for.
    """

    values: dict[str, Any]
    film: Pixels
    overlay: bytes | None

    def as_json(self) -> dict[str, Any]:
        """The values, and the overlay as base64 text if there is one."""
        if self.overlay is None:
            return self.values
        return {**self.values, "grad_cam": base64.b64encode(self.overlay).decode("ascii")}


class Answers:
    """A model that is ready to answer; threads may share it.

    Attributes:
        classes: names, in the order of the scale.
        facts: what training.json records.
        model: name and version in the registry, and the backbone.
    """

    def __init__(self, folder: Path, name: str = "", version: str = "") -> None:
        """Load model.keras, training.json and novelty.npz of `folder`.

        Args:
            folder: what `train` wrote, or a copy.
            name: of the registered model, for the answers.
            version: of the registered model, for the answers.

        Raises:
            CautionError: a file is missing or is not the recorded one.
            GradientProcessError: the model cannot be loaded.
            EngineError: OpenVINO is not installed.
        """
        engine = engines.choose("openvino", "float32")
        self.facts: dict[str, Any] = json.loads((folder / "training.json").read_text("utf-8"))
        self.classes = tuple(self.facts["classes"])
        self.model = {"name": name, "version": version, "backbone": self.facts["backbone"]}
        self._caution = prediction_limits.read(folder, self.facts)
        self._canonical = Canonical(
            **self.facts["preprocessing"], maximum_megapixels=request_limits.MEGAPIXELS
        )
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1)
        with tempfile.TemporaryDirectory() as temporary:
            graph = Path(temporary) / "graph.xml"
            self._gradients = GradientProcess(
                (folder / "model.keras").resolve(),
                self.facts["model_sha256"],
                graph,
                request_limits.EXPLAIN_SECONDS,
            )
            self._net = CompiledNet(graph, self._canonical.side_pixels, engine.precision)

    def answer(self, images: Sequence[object], *, explain: bool = False) -> list[Answered]:
        """The answers to `images`, in their order; `films.canonical_pixels` says what these are.

        Args:
            images: of one request.
            explain: also draw where the evidence for the answered class lies.

        Raises:
            RefusedError: an image cannot be used; the message names its number, from 1.
        """
        if not 1 <= len(images) <= request_limits.IMAGES:
            raise films.RefusedError(
                f"expected 1-{request_limits.IMAGES} images in a request, got {len(images)}"
            )
        begun = [self._pool.submit(self._one, *numbered) for numbered in enumerate(images, 1)]
        try:
            found = [each.result() for each in begun]
        finally:
            for each in begun:
                each.cancel()
        return [self._answered(film, row, explain) for film, row in found]

    def close(self) -> None:
        """End the processes and threads."""
        self._gradients.close()
        self._pool.shutdown()

    def _one(self, number: int, image: object) -> tuple[Pixels, npt.NDArray[np.float32]]:
        try:
            film = films.canonical_pixels(image, self._canonical)
        except films.RefusedError as reason:
            raise films.RefusedError(f"image {number}: {reason}") from None
        return film, self._net(film)

    def _answered(self, film: Pixels, row: npt.NDArray[np.float32], explain: bool) -> Answered:
        values = self._values(row)
        overlay = None
        if explain:
            overlay = self._gradients.overlay(film, self.classes.index(values["class"]))
        return Answered(values, film, overlay)

    def _values(self, row: npt.NDArray[np.float32]) -> dict[str, Any]:
        if not np.isfinite(row).all():
            raise ArithmeticError("the model's output is not finite")
        count = len(self.classes)
        chances = scores.rounded(row[np.newaxis, :count])  # as in predictions.csv
        (names,) = self._caution.sets(chances)
        (unlike,) = self._caution.scores(row[np.newaxis, count:])
        is_known = bool(np.isfinite(unlike))
        return {
            "class": self.classes[int(chances[0].argmax())],
            "probabilities": dict(zip(self.classes, chances[0].tolist(), strict=True)),
            "median_class": self.classes[int(scores.median_class(chances)[0])],
            "prediction_set": names.split(prediction_limits.BETWEEN) if names else [],
            "out_of_distribution": float(unlike) if is_known else None,
            "is_out_of_distribution": bool(unlike > 1) if is_known else None,
            "warning": prediction_limits.WARNING if is_known and unlike > 1 else "",
            "notes": notes(self.facts),
            "model": self.model,
        }


def notes(facts: Mapping[str, Any]) -> list[str]:
    """What has to be said of every answer of a model, by its training.json."""
    synthetic = [SYNTHETIC] if facts["synthetic"] else []
    return synthetic + ([LEAKY] if facts["split_protocol"] == "random" else [])
