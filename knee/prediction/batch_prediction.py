"""Files and a classifier -> a table of predictions, and figures where the labels are known."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from knee.evidence.evaluation import predictions
from knee.evidence.uncertainty import prediction_limits
from knee.reading import decoded, prepare, source_files
from knee.reading.canonical_image import Canonical
from knee.statistics import scores
from knee.statistics.bootstrap import Bootstrap

Predictor = Callable[[npt.NDArray[np.uint8]], prediction_limits.Observed]
FACTS: Final = (
    "backbone",
    "classes",
    "model_sha256",
    "preprocessing",
    "split_protocol",
    "synthetic",
)
CHUNK_FILES: Final = 512  # decoded images in memory at once


def classify(
    sources: Sequence[source_files.SourceFile],
    canonical: Canonical,
    predictor: Predictor,
    limits: prediction_limits.PredictionLimits,
) -> pd.DataFrame:
    """One row a file, in order: path, label, predicted, probability_<class> of each, reason.

    Between the probabilities and the reason stand median_class, for classes that are a scale, and
    what `limits` says of the prediction: prediction_set, out_of_distribution,
    is_out_of_distribution and warning.

    Args:
        sources: the files.
        canonical: how training's images were made canonical.
        predictor: uint8 (n, side, side) -> probabilities (n, classes) and features.
        limits: the model's; its classes are in the order of the probabilities.

    Returns:
        Of a file that cannot be used: no prediction, NaN probabilities and the reason.
    """
    chances = np.full((len(sources), len(limits.classes)), np.nan)
    unlike = np.full(len(sources), np.nan)
    reasons = [""] * len(sources)
    with tqdm(total=len(sources), desc="predict", unit="file", disable=None) as bar:
        for start in range(0, len(sources), CHUNK_FILES):
            chunk = sources[start : start + CHUNK_FILES]
            usable: list[int] = []
            images: list[npt.NDArray[np.uint8]] = []
            for number, prepared in enumerate(prepare.prepare_all(chunk, canonical), start):
                if isinstance(prepared, decoded.UnreadableImage):
                    reasons[number] = str(prepared)
                else:
                    usable.append(number)
                    images.append(prepared)
            if images:
                observed = predictor(np.stack(images))
                chances[usable] = observed.probabilities
                unlike[usable] = limits.scores(observed.features)
            bar.update(len(chunk))
    return _table(sources, scores.rounded(chances), unlike, reasons, limits)


def figures(
    usable: pd.DataFrame, training: Mapping[str, Any], bootstrap: Bootstrap
) -> dict[str, Any]:
    """The figures of test.json for labelled rows of `classify`; each file is its own group."""
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
    """A list of one object a file; null for what is not there."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return json.dumps(rows, indent=1, allow_nan=False) + "\n"


def _table(
    sources: Sequence[source_files.SourceFile],
    chances: npt.NDArray[np.float64],
    unlike: npt.NDArray[np.float64],
    reasons: Sequence[str],
    limits: prediction_limits.PredictionLimits,
) -> pd.DataFrame:
    classes = limits.classes
    known = np.nan_to_num(chances, nan=0.0)
    flags = [None if np.isnan(score) else bool(score > 1) for score in unlike]
    columns = {
        "path": [source.name for source in sources],
        "label": [source.label for source in sources],
        "predicted": _named(known.argmax(axis=1), reasons, classes),
        **{f"probability_{name}": chances[:, n] for n, name in enumerate(classes)},
        "median_class": _named(scores.median_class(known), reasons, classes),
        "prediction_set": limits.sets(chances),  # NaN is in no set
        "out_of_distribution": unlike,
        "is_out_of_distribution": pd.Series(flags, dtype=object),
        "warning": prediction_limits.warnings(unlike),
        "reason": list(reasons),
    }
    return pd.DataFrame(columns)


def _named(
    chosen: npt.NDArray[np.int64], reasons: Sequence[str], classes: Sequence[str]
) -> list[str]:
    """Names of the classes; none of a file that has a reason not to be used."""
    return ["" if reason else classes[n] for n, reason in zip(chosen, reasons, strict=True)]
