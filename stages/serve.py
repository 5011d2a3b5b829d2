r"""Serve a registered model on http://127.0.0.1:5001, to this machine alone.

python -m stages.serve [--model models:/NAME@champion|models:/NAME/VERSION] [--port 5001]

Without --model the champion of params.yaml's registered model is served. It is MLflow's scoring
server behind a guard that refuses what it cannot answer: POST /invocations, GET /ping and /version.
docs/serving.md has examples.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from stages import params, tracking
from stages.serving import local, scoring
from stages.serving.guard import Guard
from stages.tracking.serving import scoring_application

log = logging.getLogger(__name__)


def run(uri: str, port: int) -> None:
    """Serve the model `uri` until the process is told to end."""
    log.info("loading %s", uri)
    application = scoring_application(uri)
    local.run(Guard(application, scoring.ROUTES), port)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--model", default="")
    parser.add_argument("--port", type=int, default=5001)
    chosen = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        name = chosen.model or params.load(chosen.params).register.model_name
        uri = name if name.startswith("models:") else f"models:/{name}@{tracking.CHAMPION}"
        run(uri, chosen.port)
    except (params.ParamsError, tracking.TrackingError) as error:
        sys.stderr.write(f"serve: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
