"""Table of a trained model's predictions of image files, and figures where labels are known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
from knee.reading import decoded, prepare, source_files
from knee.run import progress
from knee.statistics import scores
from knee.statistics.bootstrap import Bootstrap
from knee.storage.arrays import Pixels

CHUNK_FILES: Final = 512  # decoded images in memory at once


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
            The table of `python -m stages.predict`, a row a file: `classify` lists its columns,
            of which label is left out.

        Raises:
            FolderError: a path does not exist.
        """
        listed = [paths] if isinstance(paths, str | Path) else paths
        sources = prepare.sources([Path(path) for path in listed])
        return self.classify(sources).drop(columns="label")

    def classify(self, sources: Sequence[source_files.SourceFile]) -> pd.DataFrame:
        """Classify files, in order.

        Returns:
            One row per file. Files that cannot be used have NaN probabilities, an empty prediction,
            and the reason. Columns: path, label, predicted, probability_<class> of each,
            median_class (where classes are a scale: at which half of the probability is reached),
            prediction_set (names joined by "|"), out_of_distribution (score, above 1 is too much),
            is_out_of_distribution, warning, reason, model, version, and notes (what holds for all
            answers of the model). For a model of synthetic images synthetic_model, which says so,
            comes before all others.
        """
        trained = self.trained
        classes = len(trained.classes)
        probabilities = np.full((len(sources), classes), np.nan)
        folds = np.full((len(sources), trained.limits.folds, classes), np.nan, np.float32)
        ood_scores = np.full(len(sources), np.nan)
        reasons = [""] * len(sources)
        with progress.shown("predict", len(sources), "files") as advance:
            for start in range(0, len(sources), CHUNK_FILES):
                chunk = sources[start : start + CHUNK_FILES]
                images: dict[int, Pixels] = {}
                prepared = prepare.prepare_all(chunk, trained.canonical)
                for number, image in enumerate(prepared, start):
                    if isinstance(image, decoded.UnreadableImage):
                        reasons[number] = str(image)
                    elif refusal := self._answerable.refusal(image):
                        reasons[number] = refusal
                    else:
                        images[number] = image
                if images:
                    observed = self.observe(np.stack([*images.values()]))
                    probabilities[[*images]] = observed.probabilities
                    folds[[*images]] = observed.folds
                    ood_scores[[*images]] = trained.limits.scores(observed.features)
                advance(len(chunk))
        rounded = scores.rounded(probabilities)
        sets = trained.limits.sets(rounded, folds)
        table = _table(sources, rounded, sets, ood_scores, reasons, trained.limits)
        notes = "; ".join(model_notes.notes(trained.training))
        if beginning := synthetic_model.warning(trained.training):
            table.insert(0, synthetic_model.COLUMN, beginning)
        return table.assign(model=trained.name, version=trained.version, notes=notes)


def figures(
    usable: pd.DataFrame, training: Mapping[str, Any], bootstrap: Bootstrap
) -> dict[str, Any]:
    """Compute the figures of test.json for labelled rows of `Model.classify`, a group each."""
    classes = list(training["classes"])
    truth = np.array([classes.index(label) for label in usable["label"]], np.int64)
    probabilities = predictions.probabilities_of(usable, classes)
    outcomes = scores.Outcomes(truth, probabilities, np.arange(len(truth)), classes)
    return {
        "backbone": training["backbone"],
        "synthetic": training["synthetic"],
        "split_protocol": training["split_protocol"],
        "leaky": None,  # whether these files were trained on is not known here
        "leakage": None,
        "records": len(usable),
        "groups": len(usable),
        **bootstrap.figures(outcomes),
    }


def as_json(table: pd.DataFrame) -> str:
    """Return a JSON list of one object per file; null for what is not there."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return json.dumps(rows, indent=1, allow_nan=False) + "\n"


def _table(
    sources: Sequence[source_files.SourceFile],
    probabilities: npt.NDArray[np.float64],
    sets: npt.NDArray[np.object_],
    ood_scores: npt.NDArray[np.float64],
    reasons: Sequence[str],
    limits: prediction_limits.PredictionLimits,
) -> pd.DataFrame:
    classes = limits.classes
    known = np.nan_to_num(probabilities, nan=0.0)
    flags = [None if np.isnan(score) else bool(score > 1) for score in ood_scores]
    columns = {
        "path": [source.name for source in sources],
        "label": [source.label for source in sources],
        "predicted": _named(known.argmax(axis=1), reasons, classes),
        **{f"probability_{name}": probabilities[:, n] for n, name in enumerate(classes)},
        "median_class": _named(scores.median_class(known), reasons, classes),
        "prediction_set": sets,  # NaN is in no set
        "out_of_distribution": ood_scores,
        "is_out_of_distribution": pd.Series(flags, dtype=object),
        "warning": prediction_limits.warnings(ood_scores),
        "reason": list(reasons),
    }
    return pd.DataFrame(columns)


def _named(
    indices: npt.NDArray[np.int64], reasons: Sequence[str], classes: Sequence[str]
) -> list[str]:
    """Return the class names of `indices`; "" for a file that has a reason not to be used."""
    return ["" if reason else classes[n] for n, reason in zip(indices, reasons, strict=True)]
