"""MLflow, imported only here and inside functions, except in served_model.py, which MLflow runs.

- `training_run` is live while a model trains; `publish` writes or completes a run from files.
- `replay` publishes every finished training of the project.
- `Registry` holds model versions and the aliases `champion` and `challenger`.
- `fetch_model` copies a registered model to disk.
- `python -m knee.tracking prepare | replay | ui`.
"""

from knee.tracking.evidence import collect, labels
from knee.tracking.live import training_run
from knee.tracking.publishing import describe_run, publish, require_published
from knee.tracking.registry import CHALLENGER, CHAMPION, Registry, fetch_model
from knee.tracking.runs_page import card_address
from knee.tracking.store import TrackingError

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "Registry",
    "TrackingError",
    "card_address",
    "collect",
    "describe_run",
    "fetch_model",
    "labels",
    "publish",
    "require_published",
    "training_run",
]
