"""MLflow, imported only here and inside functions, except in served_model.py, which MLflow runs.

- `training_run` is live while a model trains; `publish` writes or completes a run from files.
- `replay` publishes every finished training of the project.
- `Registry` holds model versions and the aliases `champion` and `challenger`.
- `fetch_model` copies a registered model to disk.
- `python -m knee.tracking prepare | replay | ui`.
"""

from knee.tracking.evidence import Evidence, collect, labels
from knee.tracking.live import TrainingRun, training_run
from knee.tracking.publishing import publish, replay, require_published
from knee.tracking.registry import (
    CHALLENGER,
    CHAMPION,
    Fetched,
    Registry,
    Version,
    champion_uri,
    fetch_model,
)
from knee.tracking.store import TrackingError, project_root, tracking_uri

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "Evidence",
    "Fetched",
    "Registry",
    "TrackingError",
    "TrainingRun",
    "Version",
    "champion_uri",
    "collect",
    "fetch_model",
    "labels",
    "project_root",
    "publish",
    "replay",
    "require_published",
    "tracking_uri",
    "training_run",
]
