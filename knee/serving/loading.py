"""Loading of a model by its name, for commands, the server and notebooks.

A registered model gives its data alone (model.keras, training.json, novelty.npz), to be read by
this checkout's code: the code that is stored with it, which may be older, is not run.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from knee import tracking
from knee.classifier.features import engines
from knee.classifier.net.trained_model import TrainedModel
from knee.prediction.batch_prediction import Model
from knee.run import parameters
from knee.storage.artifacts import ArtifactError

CACHE: Final = Path(__file__).parents[2] / ".cache"  # of the project; not in git


def cache() -> Path:
    """Return the folder of converted models: `KNEE_CACHE`, or one of the project."""
    return Path(os.environ.get("KNEE_CACHE") or CACHE)


def champion_unless_named(model: str, params: Path) -> str:
    """Return `model`, or where it is "" the champion of the registered model in params.yaml.

    Raises:
        ParamsError: the file `params` cannot be used.
    """
    return model or f"models:/{parameters.load(params).register.model_name}@{tracking.CHAMPION}"


@contextlib.contextmanager
def trained_model(model: str, maximum_megapixels: float = 64.0) -> Iterator[TrainedModel]:
    """Open models:/NAME@ALIAS, models:/NAME/VERSION or a model folder; a copy goes afterwards.

    Raises:
        TrackingError: there is no such registered model, or MLflow fails.
        ArtifactError: training.json is missing or damaged, or lacks something.
        CautionError: novelty.npz is missing or is not the recorded one.
    """
    if not model.startswith("models:"):
        if not Path(model).is_dir():
            raise ArtifactError(
                f"{model} is no folder: give models:/NAME@champion, models:/NAME/VERSION or the "
                "folder of a model, such as models/mobilenet (`dvc repro` trains it)"
            )
        yield TrainedModel.read(Path(model), model, "", maximum_megapixels)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        yield TrainedModel.read(folder, *tracking.fetch_model(model, folder), maximum_megapixels)


def load(
    model: str,
    engine: Literal["auto", "openvino", "tensorflow"],
    precision: Literal["auto", "float32", "bfloat16"],
) -> Model:
    """Load a model to classify image files; see `knee.load`."""
    chosen = engines.choose(engine, precision)
    with trained_model(model) as trained:
        return Model(trained, chosen, cache())
