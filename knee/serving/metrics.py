"""Figures of a server for Prometheus: requests, their seconds, images by answer, the model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)

from knee.location.cropping import NO_KNEE
from knee.prediction.graph_answers import Answered, AnsweredFilm

MEDIA_TYPE: Final = CONTENT_TYPE_LATEST
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 120.0)
OTHER: Final = "other"  # path of requests for what is not there
UNLIKE: Final[Mapping[bool | None, str]] = {True: "yes", False: "no", None: "unknown"}


class Metrics:
    """The figures; names, labels and units follow https://prometheus.io/docs/practices/naming/."""

    def __init__(self, model: Mapping[str, str], paths: Collection[str]) -> None:
        """Begin at zero; requests for other paths than `paths` are counted together."""
        self._registry = CollectorRegistry()
        self._paths = frozenset(paths)
        ProcessCollector(registry=self._registry)
        Info("knee_model", "Model that answers.", registry=self._registry).info(dict(model))
        self._requests = Counter(
            "knee_requests",
            "Requests, by path and HTTP status; refused ones have 4xx, or 503.",
            ("path", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "knee_request_seconds",
            "Time from a request's header to the end of its answer.",
            ("path",),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._images = Counter(
            "knee_images",
            "Answered images or knees, by class and whether they are unlike the training images.",
            ("predicted", "out_of_distribution"),
            registry=self._registry,
        )

    def count_request(self, path: str, status: int, seconds: float) -> None:
        """Count a request that has been answered."""
        shown = path if path in self._paths else OTHER
        self._requests.labels(shown, str(status)).inc()
        self._seconds.labels(shown).observe(seconds)

    def count_images(self, answered: Sequence[Answered | AnsweredFilm]) -> None:
        """Count the images, or the knees of the films, of an answer; and films without a knee."""
        for each in (answer for one in answered for answer in one.answers):
            unlike = UNLIKE[each.values["is_out_of_distribution"]]
            self._images.labels(each.values["class"], unlike).inc()
        for _ in filter(lambda one: not one.answers, answered):
            self._images.labels(NO_KNEE, UNLIKE[None]).inc()

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry)
