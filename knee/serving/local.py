"""The server of a trained model on this machine's own address: its command line and its process."""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from knee.prediction import request_limits
from knee.prediction.answers import Answers
from knee.run.errors import UserError
from knee.serving import loading
from knee.serving.application import application

ADDRESS: Final = "127.0.0.1"

log = logging.getLogger(__name__)


def main(name: str, argv: Sequence[str] | None, description: str | None, port: int) -> int:
    """Parse the command line of `name`, and serve the model that it names until told to end.

    Args:
        name: of the command, before its errors.
        argv: the command line, None for that of the process.
        description: of the command.
        port: where the command line names none.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--model", default="")
    parser.add_argument("--port", type=int, default=port)
    chosen = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # Whatever is temporary goes at the end. uvicorn stops serving, then sends the signal again.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        serve(loading.champion_unless_named(chosen.model, chosen.params), chosen.port)
    except (UserError, OSError) as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 1
    return 0


def serve(model: str, port: int) -> None:
    """Serve `model`, a name as `loading.trained_model` takes it, until the process is to end."""
    log.info("loading %s", model)
    with (
        loading.trained_model(model, request_limits.MEGAPIXELS) as trained,
        contextlib.closing(Answers(trained)) as answers,
    ):
        log.info("its page for one image: http://%s:%d", ADDRESS, port)
        run(application(answers), port)


def run(served: ASGIApp, port: int) -> None:
    """Serve an application on `ADDRESS`; the log has addresses and statuses, never a body."""
    uvicorn.run(
        served,
        host=ADDRESS,
        port=port,
        workers=1,
        limit_concurrency=request_limits.CONNECTIONS,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=10,
    )
