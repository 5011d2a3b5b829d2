"""A model by its name -> a model to work with, for commands, the server and notebooks.

A registered model gives its data alone (model.keras, training.json, novelty.npz), to be read by
this checkout's code: the code that is stored with it, which may be older, is not run.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from knee import tracking
from knee.classifier.features import engines
from knee.prediction.batch_prediction import Model
from knee.prediction.trained_model import Trained
from knee.run import parameters


def champion_unless_named(model: str, params: Path) -> str:
    """Return `model`, or where it is "" the champion of the registered model in params.yaml.

    Raises:
        ParamsError: the file `params` cannot be used.
    """
    return model or tracking.champion_uri(parameters.load(params).register.model_name)


class Found(NamedTuple):
    """A trained model on disk.

    Attributes:
        trained: its folder's content.
        name: of the registered model, or the folder as the user named it.
        version: of the registered model; "" for a folder.
    """

    trained: Trained
    name: str
    version: str


@contextlib.contextmanager
def found(model: str) -> Iterator[Found]:
    """Find models:/NAME@ALIAS, models:/NAME/VERSION or a model folder; a copy goes afterwards.

    Raises:
        TrackingError: there is no such registered model, or MLflow fails.
        ArtifactError: training.json is missing or damaged, or lacks something.
        CautionError: novelty.npz is missing or is not the recorded one.
    """
    if not model.startswith("models:"):
        yield Found(Trained.read(Path(model)), model, "")
        return
    with tempfile.TemporaryDirectory() as temporary:
        copy = tracking.fetch_model(model, Path(temporary))
        yield Found(Trained.read(copy.folder), copy.name, copy.version)


def load(
    model: str,
    engine: Literal["auto", "openvino", "tensorflow"],
    precision: Literal["auto", "float32", "bfloat16"],
) -> Model:
    """Load a model to classify image files; see `knee.load`."""
    chosen = engines.choose(engine, precision)
    with found(model) as (trained, name, version):
        return Model(trained, chosen, name=name, version=version)
