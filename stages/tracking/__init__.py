"""MLflow: the only package that imports it, and only inside functions.

- `training_run` is live while a model trains; `publish` writes or completes a run from files.
- `replay_pending` writes runs that waited for MLflow.
- `Registry` holds model versions and the aliases `champion` and `challenger`.
- `fetch_model` copies a registered model to disk.
- `python -m stages.tracking replay | ui`.
"""

from stages.tracking.evidence import Evidence, EvidenceError, collect, labels
from stages.tracking.fetching import Fetched, champion_uri, fetch_model
from stages.tracking.live import TrainingRun, training_run
from stages.tracking.publishing import publish, replay_pending, require_published
from stages.tracking.registry import CHALLENGER, CHAMPION, Registry, Version
from stages.tracking.store import TrackingError, project_root, tracking_uri

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "Evidence",
    "EvidenceError",
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
    "replay_pending",
    "require_published",
    "tracking_uri",
    "training_run",
]
