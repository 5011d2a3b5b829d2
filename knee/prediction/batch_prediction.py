"""Table of a trained model's predictions of image files, and figures where labels are known."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.classifier.features import engines
from knee.classifier.features.engines import Engine
from knee.classifier.inference import converted
from knee.classifier.net.trained_model import TrainedModel
from knee.evidence.evaluation import predictions
from knee.evidence.uncertainty import prediction_limits
from knee.evidence.uncertainty.prediction_limits import Observed
from knee.prediction import model_notes, synthetic_model
from knee.prediction.film_knees import FilmKnees, Locator
from knee.reading import decoded, prepare, source_files
from knee.run import progress
from knee.statistics import scores
from knee.statistics.bootstrap import Bootstrap
from knee.storage.arrays import Pixels

CHUNK_FILES: Final = 512  # decoded images in memory at once
CHUNK_FILMS: Final = 32  # whole ones
KNEES: Final = "knees"  # column of a model of located knees: how many the film has
# Columns of such a model, beside that: where the knee lies on the film, in px of it.
PLACE: Final = ("side", "box_left", "box_top", "box_side_pixels", "certainty",
                "film_width", "film_height", "film_note")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Row:
    """What a row of the table is about: a file, or a knee on the film that it is."""

    source: source_files.SourceFile
    reason: str = ""  # why there is no answer
    place: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Model:
    """A trained model, loaded to classify image files.

    Attributes:
        trained: what its training recorded.
    """

    def __init__(
        self,
        trained: TrainedModel,
        engine: Engine,
        cache: Path | None = None,
        *,
        synthetic_model_ok: bool = False,
    ) -> None:
        """Load the net of `trained`, whose folder is not needed afterwards.

        What OpenVINO takes is kept in the folder `cache`, if there is one. A model of synthetic
        images refuses others, unless `synthetic_model_ok`.

        Raises:
            ArtifactError: the net is missing, or is not the recorded one.
        """
        self.trained = trained
        self._answerable = synthetic_model.Answerable.by(
            trained.training, synthetic_model_ok=synthetic_model_ok
        )
        self._locator = Locator.of(trained)
        self._forward: engines.Forward
        if engine.name == "openvino":
            trained.check_net()
            digest = trained.training["model_sha256"]
            with converted.graph(digest, cache, self._convert) as graph:
                self._forward = engines.OpenVinoForward(graph, engine.precision)
        else:
            from knee.classifier.net import devices, saved

            joint = saved.with_features(trained.load())
            self._forward = engines.TensorFlowForward(joint, devices.strategy(1))
        self._split = prediction_limits.split_outputs

    def _convert(self, graph: Path) -> None:
        from knee.classifier.net import saved  # TensorFlow

        engines.openvino()  # before Keras imports it
        engines.export_graph(saved.with_features(self.trained.load()), graph)

    def observe(self, pixels: Pixels) -> Observed:
        """Return probabilities and features of `pixels`, uint8 (n, side, side)."""
        rows = np.empty((len(pixels), *self._forward.output_shape), np.float32)
        self._forward.fill(pixels, rows)
        return self._split(rows, len(self.trained.classes), self.trained.limits.folds)

    def predict(self, paths: str | Path | Sequence[str | Path]) -> pd.DataFrame:
        """Classify the files that `paths` name, and all files below the folders among them.

        Returns:
            The table of `python -m stages.predict`, a row a file, or a knee: `classify` lists its
            columns, of which label is left out.

        Raises:
            FolderError: a path does not exist.
        """
        listed = [paths] if isinstance(paths, str | Path) else paths
        sources = prepare.sources([Path(path) for path in listed])
        return self.classify(sources).drop(columns="label")

    def classify(self, sources: Sequence[source_files.SourceFile]) -> pd.DataFrame:
        """Classify files, in order.

        Returns:
            One row per file; by a model of located knees one per knee, from left to right, or one
            for a film without any. Files that cannot be used have NaN probabilities, an empty
            prediction, and the reason. Columns: path, label, predicted, probability_<class> of
            each, median_class (where classes are a scale: at which half of it is reached),
            prediction_set (names joined by "|"), out_of_distribution (score, above 1 is too much),
            is_out_of_distribution, warning, reason, model, version, and notes (what holds for all
            answers of the model). For a model of synthetic images synthetic_model, which says so,
            comes before all others. For one of located knees `KNEES` and `PLACE` follow label.
        """
        trained = self.trained
        rows: list[_Row] = []
        observed = [self._observed([])]
        size = CHUNK_FILMS if self._locator else CHUNK_FILES
        with progress.shown("predict", len(sources), "files") as advance:
            for start in range(0, len(sources), size):
                chunk = sources[start : start + size]
                prepared = [*self._prepared(chunk)]
                rows += [row for row, _ in prepared]
                observed.append(self._observed([image for _, image in prepared]))
                advance(len(chunk))
        probabilities, folds, ood_scores = map(np.concatenate, zip(*observed, strict=True))
        rounded = scores.rounded(probabilities)
        sets = trained.limits.sets(rounded, folds)
        table = _table(rows, rounded, sets, ood_scores, trained.limits)
        if self._locator:
            for place, name in enumerate((KNEES, *PLACE), start=2):
                values = [row.place.get(name) for row in rows]
                table.insert(place, name, pd.Series(values, dtype=object))
        notes = "; ".join(model_notes.notes(trained.training))
        if beginning := synthetic_model.warning(trained.training):
            table.insert(0, synthetic_model.COLUMN, beginning)
        return table.assign(model=trained.name, version=trained.version, notes=notes)

    def _observed(
        self, images: Sequence[Pixels | None]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        """Probabilities, an ensemble's by fold, and scores; NaN where there is no image."""
        limits, classes = self.trained.limits, len(self.trained.classes)
        probabilities = np.full((len(images), classes), np.nan)
        folds = np.full((len(images), limits.folds, classes), np.nan, np.float32)
        ood_scores = np.full(len(images), np.nan)
        known = {number: image for number, image in enumerate(images) if image is not None}
        if known:
            observed = self.observe(np.stack([*known.values()]))
            probabilities[[*known]] = observed.probabilities
            folds[[*known]] = observed.folds
            ood_scores[[*known]] = limits.scores(observed.features)
        return probabilities, folds, ood_scores

    def _prepared(
        self, sources: Sequence[source_files.SourceFile]
    ) -> Iterator[tuple[_Row, Pixels | None]]:
        """Yield what each row is about, and the canonical pixels if it can be answered."""
        if self._locator is None:
            prepared = prepare.prepare_all(sources, self.trained.canonical)
            for source, image in zip(sources, prepared, strict=True):
                yield self._row(source, image)
            return
        for source, found in zip(sources, self._locator.find_all(sources), strict=True):
            if isinstance(found, decoded.UnreadableImage):
                yield _Row(source, str(found), {KNEES: 0}), None
            elif not found.knees:
                yield _Row(source, found.reason, _place(found)), None
            else:
                for number, pixels in enumerate(found.pixels):
                    yield self._row(source, pixels, _place(found, number))

    def _row(
        self,
        source: source_files.SourceFile,
        image: prepare.Prepared,
        place: Mapping[str, Any] | None = None,
    ) -> tuple[_Row, Pixels | None]:
        if isinstance(image, decoded.UnreadableImage):
            return _Row(source, str(image)), None
        refusal = self._answerable.refusal(image)
        return _Row(source, refusal, place or {}), None if refusal else image


def figures(
    usable: pd.DataFrame, training: Mapping[str, Any], bootstrap: Bootstrap
) -> dict[str, Any]:
    """Compute the figures of test.json for labelled rows of `Model.classify`, a group a file."""
    classes = list(training["classes"])
    truth = np.array([classes.index(label) for label in usable["label"]], np.int64)
    probabilities = predictions.probabilities_of(usable, classes)
    files, _ = pd.factorize(usable["path"])
    outcomes = scores.Outcomes(truth, probabilities, files.astype(np.int64), classes)
    return {
        "backbone": training["backbone"],
        "synthetic": training["synthetic"],
        "split_protocol": training["split_protocol"],
        "leaky": None,  # whether these files were trained on is not known here
        "leakage": None,
        "records": len(usable),
        "groups": int(files.max()) + 1,
        **bootstrap.figures(outcomes),
    }


def as_json(table: pd.DataFrame) -> str:
    """Return a JSON list of one object per file; null for what is not there."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return json.dumps(rows, indent=1, allow_nan=False) + "\n"


def _place(found: FilmKnees, number: int | None = None) -> dict[str, Any]:
    """The columns of a film, and of its knee of this number."""
    height, width = found.film.shape
    place = {
        KNEES: len(found.knees),
        "film_width": width,
        "film_height": height,
        "film_note": found.note,
    }
    if number is None:
        return place
    return {**place, "side": found.knees[number].side, **found.knees[number].place()}


def _table(
    rows: Sequence[_Row],
    probabilities: npt.NDArray[np.float64],
    sets: npt.NDArray[np.object_],
    ood_scores: npt.NDArray[np.float64],
    limits: prediction_limits.PredictionLimits,
) -> pd.DataFrame:
    classes, reasons = limits.classes, [row.reason for row in rows]
    known = np.nan_to_num(probabilities, nan=0.0)
    flags = [None if np.isnan(score) else bool(score > 1) for score in ood_scores]
    columns = {
        "path": [row.source.name for row in rows],
        "label": [row.source.label for row in rows],
        "predicted": _named(known.argmax(axis=1), reasons, classes),
        **{f"probability_{name}": probabilities[:, n] for n, name in enumerate(classes)},
        "median_class": _named(scores.median_class(known), reasons, classes),
        "prediction_set": sets,  # NaN is in no set
        "out_of_distribution": ood_scores,
        "is_out_of_distribution": pd.Series(flags, dtype=object),
        "warning": prediction_limits.warnings(ood_scores),
        "reason": reasons,
    }
    return pd.DataFrame(columns)


def _named(
    indices: npt.NDArray[np.int64], reasons: Sequence[str], classes: Sequence[str]
) -> list[str]:
    """Return the class names of `indices`; "" for a file that has a reason not to be used."""
    return ["" if reason else classes[n] for n, reason in zip(indices, reasons, strict=True)]
