"""The knees of a film as a model of located knees takes them, and where they lie on the film."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from threadpoolctl import threadpool_limits

from knee.classifier.net.trained_model import TrainedModel
from knee.location import cropping, knees, locator_weights
from knee.location.convolutions import Weights
from knee.location.cropping import KneeImage
from knee.reading import content_check, image_formats, prepare, source_files
from knee.reading.canonical_image import Canonical
from knee.reading.decoded import Decoded, UnreadableImage
from knee.storage.arrays import Pixels


@dataclass(frozen=True)
class FilmKnees:
    """What was found on one film.

    Attributes:
        film: uint8 (height, width).
        knees: none, one or two, from left to right.
        pixels: canonical pixels of each, uint8 (side, side).
        note: what is doubtful about how it is shown, scale and sides, phrases joined by "; ".
    """

    film: Pixels
    knees: Sequence[KneeImage]
    pixels: Sequence[Pixels]
    note: str

    @property
    def reason(self) -> str:
        """Why there is no knee; "" if there is one."""
        return "" if self.knees else cropping.NO_KNEE


@dataclass(frozen=True)
class Locator:
    """The search for knees by which the images of a training were cut from films."""

    weights: Weights
    box_widths: float  # side of a knee's square, in joint widths
    box_millimetres: float  # the same where the film tells its pixel spacing; 0: never
    canonical: Canonical

    @classmethod
    def of(cls, trained: TrainedModel) -> Locator | None:
        """Return the search of `trained`; None for a model whose images were whole files.

        Raises:
            WeightsError: its weights are missing, or are not the recorded ones.
        """
        recorded = trained.training.get("locate")
        if not recorded:
            return None
        file, remedy = trained.folder / locator_weights.FILE, "run `dvc repro`"
        weights = locator_weights.read(file, recorded["weights_sha256"], remedy)
        millimetres = recorded.get("box_millimetres", 0.0)  # not in records of earlier versions
        return cls(weights, recorded["box_widths"], millimetres, trained.canonical)

    def find(self, image: Decoded) -> FilmKnees:
        """Return the knees of a film, cut as `stages.locate` cuts them.

        `UnreadableImage` for a knee that ingest would reject, and for a turned film.
        """
        found = knees.locate(image.pixels, self.weights)
        if found and (reason := cropping.refusal(found)):
            raise UnreadableImage(reason)
        boxes = self.box_widths, self.box_millimetres
        cut, doubts = cropping.cut_film(image, found, image.side, *boxes)
        pixels = [self._canonical(one) for one in cut]
        notes = [*filter(None, [image.note]), *doubts]
        return FilmKnees(image.pixels, cut, pixels, "; ".join(notes))

    def _canonical(self, one: KneeImage) -> Pixels:
        try:
            content_check.check(one.pixels)
            return prepare.from_gray(one.pixels, self.canonical)
        except UnreadableImage as reason:
            raise UnreadableImage(f"{one.side} knee: {reason}".lstrip()) from None

    def find_all(
        self, files: Sequence[source_files.SourceFile]
    ) -> Iterator[FilmKnees | UnreadableImage]:
        """Yield what each file shows, or why it cannot be used, in order; in parallel."""
        with one_thread(), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            yield from pool.map(self._of_file, files)

    def _of_file(self, source: source_files.SourceFile) -> FilmKnees | UnreadableImage:
        try:
            content = source_files.read(source)
            image = image_formats.decode_radiograph(
                content, self.canonical.maximum_megapixels, self.canonical.dicom
            )
            return self.find(image)
        except UnreadableImage as reason:
            return reason


def one_thread() -> contextlib.AbstractContextManager[object]:
    """Keep NumPy's products to one thread each: they are small, and more wait for each other."""
    limits: contextlib.AbstractContextManager[object] = threadpool_limits(1, "blas")
    return limits
