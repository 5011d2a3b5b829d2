"""Library of the pipeline; its rooms import only rooms above them in docs/how_it_is_built.md.

In a notebook, for a table with a row an image:

    model = knee.load("models/mobilenet")
    table = model.predict(["images/", "one.png"])
"""

from __future__ import annotations

import importlib
import os
from typing import Any, Literal


def load(
    model: str | os.PathLike[str] = "",
    engine: Literal["auto", "openvino", "tensorflow"] = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "float32",
    *,
    synthetic_model_ok: bool = False,
) -> Any:
    """Load a trained model, as `python -m stages.predict` does.

    Args:
        model: a registered model, such as "models:/knee-bone-health-sample@champion" or
            "models:/knee-bone-health-sample/3", or a folder such as "models/mobilenet"; without,
            the champion of what the project in the working directory registered last.
        engine: that computes; auto is TensorFlow on GPUs, else OpenVINO where it is installed.
        precision: bfloat16 takes half the time, and changes the second or third digit.
        synthetic_model_ok: let a model of synthetic images answer about others, too.

    Returns:
        A `knee.prediction.batch_prediction.Model`; its `predict(paths)` gives a pandas DataFrame.

    Raises:
        UserError: the model or the engine is not there or cannot be used; one line says why.
    """
    loading = importlib.import_module("knee.serving.loading")  # by name: no stage depends on it
    name = os.fspath(model)
    return loading.load(name, engine, precision, synthetic_model_ok=synthetic_model_ok)
