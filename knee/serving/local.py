"""The server of a trained model on this machine's own address: its command line and its process."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
from collections.abc import Sequence
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from knee.prediction import request_images
from knee.prediction.answers import Answers
from knee.run import command
from knee.serving import loading
from knee.serving.application import application

ADDRESS: Final = "127.0.0.1"

log = logging.getLogger(__name__)


def main(name: str, description: str | None, port: int, argv: Sequence[str] | None = None) -> int:
    """Parse the command line of `name`, and serve the model that it names until told to end."""
    parser = command.parser(description)
    parser.add_argument("--model", default="")
    parser.add_argument("--port", type=int, default=port)
    chosen = parser.parse_args(argv)
    # Whatever is temporary goes at the end. uvicorn stops serving, then sends the signal again.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    def work() -> int:
        serve(loading.champion_unless_named(chosen.model, chosen.params), chosen.port)
        return 0

    return command.exit_status(name, work)


def serve(model: str, port: int) -> None:
    """Serve `model`, a name as `loading.trained_model` takes it, until the process is to end."""
    log.info("loading %s", model)
    with (
        loading.trained_model(model, request_images.MEGAPIXELS) as trained,
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
        limit_concurrency=request_images.CONNECTIONS,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=10,
    )
