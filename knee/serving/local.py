"""An ASGI application on this machine's own address, until the process is told to end."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from knee import tracking
from knee.prediction import request_limits
from knee.run import parameters

ADDRESS: Final = "127.0.0.1"


def main(
    name: str,
    words: Sequence[str] | None,
    described: str | None,
    port: int,
    serve: Callable[[str, int], None],
    errors: tuple[type[Exception], ...] = (),
) -> int:
    """Parse a command line, and `serve` the model that it names on a port until told to end.

    Args:
        name: of the command, before its errors.
        words: the command line, None for that of the process.
        described: the module's docstring.
        port: where none is named.
        serve: told the model (the champion of params.yaml where none is named) and the port.
        errors: of `serve`, that are the user's to mend: one line, exit status 1.
    """
    caught: tuple[type[Exception], ...] = (parameters.ParamsError, tracking.TrackingError, *errors)
    parser = argparse.ArgumentParser(
        description=described, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--model", default="")
    parser.add_argument("--port", type=int, default=port)
    chosen = parser.parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        model = chosen.model
        if not model:
            model = tracking.champion_uri(parameters.load(chosen.params).register.model_name)
        logging.info("loading %s", model)
        serve(model, chosen.port)
    except caught as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 1
    return 0


def run(application: Any, port: int) -> None:
    """Serve `application` on `ADDRESS`; its log has addresses and statuses, never a body.

    After SIGINT it returns, after SIGTERM it ends by SystemExit: callers clean up either way.
    """
    import uvicorn

    # uvicorn stops serving, then sends itself the signal again.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        application,
        host=ADDRESS,
        port=port,
        workers=1,
        limit_concurrency=request_limits.CONNECTIONS,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=10,
    )
