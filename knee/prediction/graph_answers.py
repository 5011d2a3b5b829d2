"""JSON answers of a converted net, with the same numbers as stages.predict; without heat maps."""

from __future__ import annotations

import base64
import contextlib
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from knee.classifier.features import engines
from knee.classifier.net.trained_model import TrainedModel
from knee.evidence.uncertainty import prediction_limits
from knee.location.cropping import KneeImage
from knee.prediction import film_knees, model_notes, request_images, synthetic_model
from knee.prediction.film_knees import FilmKnees, Locator
from knee.reading.decoded import UnreadableImage
from knee.statistics import scores
from knee.storage.arrays import Pixels

NO_HEAT_MAPS: Final = "this server draws no heat maps: ask without the parameter explain"


@dataclass(frozen=True)
class Answered:
    """The answer to one image, or to one knee of a film.

    Attributes:
        values: as they go out, JSON values alone.
        pixels: canonical pixels, uint8 (side, side): what the model saw.
        overlay: PNG of the pixels under the heat of the answered class; None if not asked for.
    """

    values: dict[str, Any]
    pixels: Pixels
    overlay: bytes | None

    @property
    def answers(self) -> Sequence[Answered]:
        """This one alone."""
        return (self,)

    def as_json(self) -> dict[str, Any]:
        """Return the values, and the overlay as base64 text if there is one."""
        if self.overlay is None:
            return self.values
        return {**self.values, "grad_cam": base64.b64encode(self.overlay).decode("ascii")}


@dataclass(frozen=True)
class AnsweredFilm:
    """The answers of a model of located knees to one film.

    Attributes:
        values: of the film as a whole, as they go out.
        answers: one for each knee, from left to right; none where no knee was found.
        film: uint8 (height, width).
    """

    values: dict[str, Any]
    answers: Sequence[Answered]
    film: Pixels

    def as_json(self) -> dict[str, Any]:
        """Return the values, and the answers as the list `knees`."""
        return {**self.values, "knees": [each.as_json() for each in self.answers]}


@dataclass(frozen=True)
class _Seen:
    """What the net saw of one image of a request, and said of it; a film may have several knees."""

    pixels: Sequence[Pixels]
    outputs: Sequence[npt.NDArray[np.float32]]
    knees: FilmKnees | None = None  # of a model of located knees

    @property
    def places(self) -> Sequence[Mapping[str, Any]]:
        """What the answer about each says of its place on the film."""
        return [{}] if self.knees is None else [*map(_place, self.knees.knees)]


class AbandonedError(Exception):
    """Nobody waits for the answer any more."""


class GraphAnswers:
    """A converted net that is ready to answer; threads may share it.

    Attributes:
        explains: whether it draws heat maps.
        training: content of training.json.
        model: name and version in the registry, and the backbone.
    """

    explains = False

    def __init__(
        self, trained: TrainedModel, graph: Path, *, synthetic_model_ok: bool = False
    ) -> None:
        """Load the converted net (.xml) of `trained`.

        A model of synthetic images refuses others, unless `synthetic_model_ok`.
        """
        self._trained = trained
        self.training = trained.training
        self._answerable = synthetic_model.Answerable.by(
            trained.training, synthetic_model_ok=synthetic_model_ok
        )
        self.model = {
            "name": Path(trained.name).name,  # of a folder not where it lies
            "version": trained.version,
            "backbone": trained.training["backbone"],
        }
        self._locator = Locator.of(trained)
        with contextlib.ExitStack() as begun:
            if self._locator:
                begun.enter_context(film_knees.one_thread())
            self._pool = begun.enter_context(ThreadPoolExecutor(os.cpu_count() or 1))
            self._net = engines.CompiledNet(graph, trained.canonical.side_pixels, "float32")
            self._begun = begun.pop_all()

    def answer(
        self,
        images: Sequence[object],
        *,
        explain: bool = False,
        abandoned: threading.Event | None = None,
    ) -> list[Answered] | list[AnsweredFilm]:
        """Answer `images`, in their order; a model of located knees answers for each knee.

        Args:
            images: of one request, as `request_images.canonical_pixels` takes them.
            explain: also draw where the evidence for the answered class lies.
            abandoned: set as soon as nobody waits for the answer any more.

        Raises:
            AbandonedError: `abandoned` was set before all was done.
            RefusedError: an image cannot be used; the message names its number, from 1. Or a heat
                map is asked of a net that draws none.
        """
        if not 1 <= len(images) <= request_images.IMAGES:
            raise request_images.RefusedError(
                f"expected 1-{request_images.IMAGES} images in a request, got {len(images)}"
            )
        if explain and not self.explains:
            raise request_images.RefusedError(NO_HEAT_MAPS)
        unless = abandoned or threading.Event()
        if len(images) == 1:  # another thread would be no faster
            return self._all_answered([self._seen(1, images[0], unless)], explain, unless)
        begun = [self._pool.submit(self._seen, *pair, unless) for pair in enumerate(images, 1)]
        try:
            seen = [each.result() for each in begun]
        finally:
            for each in begun:
                each.cancel()
        return self._all_answered(seen, explain, unless)

    def close(self) -> None:
        """End the threads."""
        self._begun.close()

    def overlay(self, pixels: Pixels, class_index: int) -> bytes:  # noqa: ARG002
        """Return the PNG of `pixels`, uint8 (side, side), under the heat of a class.

        Raises:
            RefusedError: the net draws no heat maps.
        """
        raise request_images.RefusedError(NO_HEAT_MAPS)

    def _seen(self, number: int, image: object, abandoned: threading.Event) -> _Seen:
        """Return what the net sees of an image and its outputs: probabilities, then features."""
        if abandoned.is_set():
            raise AbandonedError
        canonical, found = self._trained.canonical, None
        try:
            if self._locator:
                found = self._locator.find(request_images.decoded(image, canonical))
                pixels = found.pixels
            else:
                pixels = [request_images.canonical_pixels(image, canonical)]
            for refusal in filter(None, map(self._answerable.refusal, pixels)):
                raise request_images.RefusedError(refusal)
        except (request_images.RefusedError, UnreadableImage) as reason:
            raise request_images.RefusedError(f"image {number}: {reason}") from None
        return _Seen(pixels, [self._net(one) for one in pixels], found)

    def _all_answered(
        self, seen: Sequence[_Seen], explain: bool, abandoned: threading.Event
    ) -> list[Answered] | list[AnsweredFilm]:
        found = [
            [
                self._answered(pixels, outputs, place, explain, abandoned)
                for pixels, outputs, place in zip(one.pixels, one.outputs, one.places, strict=True)
            ]
            for one in seen
        ]
        if not self._locator:
            return [answer for (answer,) in found]
        return [
            AnsweredFilm(self._film_values(one.knees), answers, one.knees.film)
            for one, answers in zip(seen, found, strict=True)
            if one.knees is not None
        ]

    def _film_values(self, found: FilmKnees) -> dict[str, Any]:
        height, width = found.film.shape
        beginning = synthetic_model.warning(self.training)
        return {
            **({synthetic_model.COLUMN: beginning} if beginning else {}),
            "film": {"width": width, "height": height},
            "reason": found.reason,
            "film_note": found.note,
        }

    def _answered(
        self,
        pixels: Pixels,
        outputs: npt.NDArray[np.float32],
        place: Mapping[str, Any],
        explain: bool,
        abandoned: threading.Event,
    ) -> Answered:
        if abandoned.is_set():
            raise AbandonedError
        if not np.isfinite(outputs).all():
            raise ArithmeticError("the model's output is not finite")
        classes, limits = self._trained.classes, self._trained.limits
        observed = prediction_limits.split_outputs(outputs[np.newaxis], len(classes), limits.folds)
        probabilities = scores.rounded(observed.probabilities)  # as predictions.csv
        (names,) = limits.sets(probabilities, observed.folds)
        (score,) = limits.scores(observed.features)
        is_known = bool(np.isfinite(score))
        answered = int(probabilities[0].argmax())
        beginning = synthetic_model.warning(self.training)
        values = {
            **({synthetic_model.COLUMN: beginning} if beginning else {}),
            **place,
            "class": classes[answered],
            "probabilities": dict(zip(classes, probabilities[0].tolist(), strict=True)),
            "median_class": classes[int(scores.median_class(probabilities)[0])],
            "prediction_set": names.split(prediction_limits.BETWEEN) if names else [],
            "out_of_distribution": float(score) if is_known else None,
            "is_out_of_distribution": bool(score > 1) if is_known else None,
            "warning": prediction_limits.WARNING if is_known and score > 1 else "",
            "notes": model_notes.notes(self.training),
            "model": self.model,
        }
        return Answered(values, pixels, self.overlay(pixels, answered) if explain else None)


def _place(knee: KneeImage) -> dict[str, Any]:
    """Side, square and certainty of a knee, px of the film."""
    return {
        "side": knee.side,
        "box": {"left": knee.left, "top": knee.top, "side_pixels": knee.box_side},
        "certainty": round(knee.knee.score, 3),
    }
