"""The server of a trained model on this machine's own address: its command line and its process."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from knee.prediction import request_images
from knee.prediction.answers import Answers
from knee.run import command
from knee.run.errors import UserError
from knee.serving import loading
from knee.serving.application import application
from knee.serving.connections import Connection, FewRefusals

ADDRESS: Final = "127.0.0.1"
LAST_PORT: Final = (1 << 16) - 1

log = logging.getLogger(__name__)


class PortError(UserError):
    """The port of --port cannot be listened on."""


def main(name: str, description: str | None, port: int, argv: Sequence[str] | None = None) -> int:
    """Parse the command line of `name`, and serve the model that it names until told to end."""
    parser = command.parser(description)
    parser.add_argument("--model", default="")
    parser.add_argument("--port", type=int, default=port)
    chosen = parser.parse_args(argv)
    # Whatever is temporary goes at the end. uvicorn stops serving, then sends the signal again.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    def work() -> int:
        serve(loading.champion_unless_named(chosen.model, chosen.params), chosen.port)
        return 0

    try:
        return command.exit_status(name, work)
    finally:
        signal.signal(signal.SIGTERM, before)


def serve(model: str, port: int) -> None:
    """Serve `model`, a name as `loading.trained_model` takes it, until the process is to end.

    Raises:
        PortError: the port cannot be listened on; told before the model is loaded.
    """
    with listener(port) as bound:
        log.info("loading %s", model)
        with (
            loading.trained_model(model, request_images.MEGAPIXELS) as trained,
            contextlib.closing(Answers(trained, loading.cache())) as answers,
        ):
            log.info("its page for one image: http://%s:%d", ADDRESS, port)
            run(application(answers), bound)


def listener(port: int) -> socket.socket:
    """Return a socket that is bound to `port` of `ADDRESS`.

    Raises:
        PortError: that is not possible.
    """
    if not 1 <= port <= LAST_PORT:
        raise PortError(f"--port {port}: give a number of 1-{LAST_PORT}")
    bound = socket.socket()
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((ADDRESS, port))
    except OSError as error:
        bound.close()
        raise PortError(f"--port {port}: {error.strerror}: give another port") from None
    return bound


def run(served: ASGIApp, bound: socket.socket) -> None:
    """Serve an application on a bound socket; the log has addresses and statuses, never a body."""
    config = uvicorn.Config(
        served,
        http=Connection,
        backlog=request_images.CONNECTIONS,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=10,
    )
    few = FewRefusals()
    for name in ("uvicorn.error", "uvicorn.access"):  # uvicorn.Config has just set them up
        logging.getLogger(name).addFilter(few)
    with contextlib.suppress(KeyboardInterrupt):  # sent again when all is closed
        uvicorn.Server(config).run(sockets=[bound])
