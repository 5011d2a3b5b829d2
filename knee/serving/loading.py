"""Loading of a model by its name, for commands, the server and notebooks.

A registered model gives its data alone (model.keras, training.json, novelty.npz, knees.npz), to be
read by this checkout's code: the code that is stored with it, which may be older, is not run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from knee import tracking
from knee.classifier.features import engines
from knee.classifier.net.trained_model import TrainedModel
from knee.prediction import synthetic_model
from knee.prediction.batch_prediction import Model
from knee.run import dvc_notes
from knee.storage.artifacts import ArtifactError

CACHE: Final = Path(__file__).parents[2] / ".cache"  # of the project; not in git


def cache() -> Path:
    """Return the folder of converted models: `KNEE_CACHE`, or one of the project."""
    return Path(os.environ.get("KNEE_CACHE") or CACHE)


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which model is to answer, and about which images."""
    add_model_flag(parser)
    parser.add_argument(
        synthetic_model.FLAG,
        action="store_true",
        help="let a model of synthetic images answer about others, too; default: it refuses them",
    )


def add_model_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag that says which model is meant."""
    parser.add_argument(
        "--model",
        default="",
        help="models:/NAME@champion, models:/NAME/VERSION or a model's folder, such as "
        "models/mobilenet; default: the champion of what the project registered last",
    )


def champion_unless_named(model: str, params: Path) -> str:
    """Return `model`, or where it is "" the champion of the project's registered model.

    Raises:
        ParamsError: nothing was registered yet, and the file `params` cannot be used.
    """
    return model or f"models:/{dvc_notes.registered_model(params)}@{tracking.CHAMPION}"


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
    *,
    synthetic_model_ok: bool,
) -> Model:
    """Load a model to classify image files; see `knee.load`."""
    chosen = engines.choose(engine, precision)
    name = champion_unless_named(model, Path("params.yaml"))
    with trained_model(name) as trained:
        return Model(trained, chosen, cache(), synthetic_model_ok=synthetic_model_ok)
