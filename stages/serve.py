r"""Serve a registered model on http://127.0.0.1:5001, to this machine alone.

python -m stages.serve [--model models:/NAME@champion|models:/NAME/VERSION] [--port 5001]

Without --model the champion of params.yaml's registered model is served. It is MLflow's scoring
server behind a guard that refuses what it cannot answer: POST /invocations, GET /ping and /version.
docs/serving.md has examples.
"""

from __future__ import annotations

from collections.abc import Sequence

from knee import tracking
from knee.serving import local, scoring
from knee.serving.guard import Guard
from knee.tracking.registry import scoring_application


def run(model: str, port: int) -> None:
    """Serve the registered `model`, a URI or a name, until the process is told to end."""
    uri = model if model.startswith("models:") else tracking.champion_uri(model)
    local.run(Guard(scoring_application(uri), scoring.ROUTES), port)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    return local.main("serve", argv, __doc__, 5001, run)


if __name__ == "__main__":
    raise SystemExit(main())
