r"""A page for one film on http://127.0.0.1:8501, for this machine alone.

python -m stages.demo [--model models:/NAME@champion|FOLDER] [--port 8501]

Drop a PNG, JPEG or DICOM file: prediction set, probabilities, Grad-CAM, and what speaks against the
answer. Without --model the champion of params.yaml's registered model is asked.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from knee import tracking
from knee.classifier.features.engines import EngineError
from knee.classifier.inference.gradient_worker import GradientProcessError
from knee.prediction.answers import Answers
from knee.serving import demo_page, local
from knee.storage.artifacts import ArtifactError

USER_ERRORS = (ArtifactError, EngineError, GradientProcessError, OSError)
log = logging.getLogger(__name__)


def run(model: str, port: int) -> None:
    """Show the page until the process is told to end."""
    with tempfile.TemporaryDirectory() as temporary:
        if model.startswith("models:"):
            fetched = tracking.fetch_model(model, Path(temporary))
            answers = Answers(fetched.folder, fetched.name, fetched.version)
        else:
            answers = Answers(Path(model), Path(model).name)
        log.info("open http://%s:%d", local.ADDRESS, port)
        try:
            local.run(demo_page.application(answers), port)
        finally:
            answers.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    return local.main("demo", argv, __doc__, 8501, run, USER_ERRORS)


if __name__ == "__main__":
    raise SystemExit(main())
