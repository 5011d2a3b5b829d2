"""The classifier as MLflow loads and serves it; a copy of this file lies in every logged model.

MLflow runs the copy ("models from code"), so nothing is pickled; the code of this project that it
needs lies in the logged model too. Input: rows with `image`, base64 text of a PNG, JPEG, TIFF, BMP
or DICOM file, or gray values as rows of 0-255. Output: an object an image (docs/serving.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import INVALID_PARAMETER_VALUE, MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext
from mlflow.utils.yaml_utils import read_yaml

VERSION_FILE = "registered_model_meta"  # MLflow writes it beside a registered model it fetches


class Refusal(MlflowException):  # type: ignore[misc]  # mlflow is untyped here
    """A request that cannot be answered: status 400, and a message that quotes nothing of it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, error_code=INVALID_PARAMETER_VALUE, refused=True)

    def __setattr__(self, name: str, value: object) -> None:
        """MLflow's server would put the input in front of the message."""
        if name != "message" or "message" not in self.__dict__:
            super().__setattr__(name, value)


class RadiographClassifier(PythonModel):  # type: ignore[misc]  # mlflow is untyped here
    """Classify images: class, probabilities, prediction set, OOD score, a heat map on demand."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model's files, if they are the ones that training recorded."""
        from knee.classifier.net.trained_model import TrainedModel
        from knee.prediction.answers import Answers

        files = Path(context.artifacts["model"]).parent
        self._answers = Answers(
            TrainedModel.read(files, *registered(files.parent)),
            synthetic_model_ok=bool((context.model_config or {}).get("synthetic_model_ok")),
        )

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002  # MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Return a list of one object an image of the column `image`."""
        from knee.prediction.request_images import RefusedError

        try:
            found = self._answers.answer(
                list(model_input["image"]), explain=bool((params or {}).get("explain"))
            )
        except RefusedError as reason:
            raise Refusal(str(reason)) from None
        return [each.as_json() for each in found]


def registered(folder: Path) -> tuple[str, str]:
    """Return name and version of the registered model in `folder`; empty if it is none."""
    if not (folder / VERSION_FILE).is_file():
        return "", ""
    found = read_yaml(str(folder), VERSION_FILE)
    return str(found["model_name"]), str(found["model_version"])


set_model(RadiographClassifier())
