"""Command line of the store of runs: python -m knee.tracking prepare | replay | ui [--port 5000].

prepare makes the store of runs, which takes MLflow a quarter of a minute, once; replay publishes
the finished trainings of the project that MLflow has not got, or not completely, and closes runs of
killed processes; ui opens MLflow's pages on this machine only.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from knee.run import termination
from knee.run.errors import UserError
from knee.tracking import runs_page
from knee.tracking.publishing import replay
from knee.tracking.store import connect, errors_translated, shown_uri, tracking_uri

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return 1 if it could not do all of it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m knee.tracking", description=__doc__)
    parser.add_argument("command", choices=("prepare", "replay", "ui"))
    parser.add_argument("--port", type=int, default=5000, help="of MLflow's pages")
    arguments = parser.parse_args(argv)
    try:
        if arguments.command == "replay":
            with termination.raised():
                return 0 if replay() else 1
        if arguments.command == "prepare":
            log.info("preparing the store of runs, once: %s", shown_uri())
            connect()
        else:
            show(arguments.port)
    except UserError as error:  # the pipeline runs without MLflow
        log.warning("%s", error)
        return 1
    return 0


def show(port: int) -> None:
    """Become MLflow's server, so that what ends this command ends the server."""
    uri, client = tracking_uri(), connect()
    has_pages = uri.startswith(("http://", "https://"))
    with errors_translated("looking for runs"):
        address = runs_page.runs_address(client, "" if has_pages else f"http://127.0.0.1:{port}")
    if has_pages:
        log.info("the tracking server has its own pages: %s", address)
        return
    log.info("in a few seconds the runs are at %s", address)
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # starts 4 processes
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level warning"]  # else the address scrolls away
    os.execv(sys.executable, command)  # noqa: S606  # nosec B606  # no shell, our own program


if __name__ == "__main__":
    raise SystemExit(main())
