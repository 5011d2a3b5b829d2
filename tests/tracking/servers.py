"""Servers in place of MLflow that answer wrongly, or not at all; and MLflow's own."""

from __future__ import annotations

import contextlib
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

Manner = Literal["refusing", "hanging", "failing", "busy"]


class Impostor(http.server.ThreadingHTTPServer):
    """Counts what it is asked, and behaves in its manner."""

    daemon_threads = True

    def __init__(self, manner: Manner) -> None:
        self.asked = 0
        self.manner = manner
        self.closing = threading.Event()
        super().__init__(("127.0.0.1", 0), Answer)


class Answer(http.server.BaseHTTPRequestHandler):
    server: Impostor

    def do_GET(self) -> None:
        self.server.asked += 1
        if self.server.manner == "hanging":
            self.server.closing.wait()
            return
        self.send_response(500 if self.server.manner == "failing" else 503)
        self.send_header("Content-Length", "0")
        if self.server.manner == "busy":
            self.send_header("Retry-After", "3600")
        self.end_headers()

    do_POST = do_GET  # noqa: N815  # the name that http.server asks for

    def log_message(self, *_: object) -> None:
        pass


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextlib.contextmanager
def impostor(manner: Manner) -> Iterator[tuple[str, Impostor | None]]:
    """Address of a server of that manner; of none at all if it is refusing."""
    if manner == "refusing":
        yield f"http://127.0.0.1:{free_port()}", None
        return
    with Impostor(manner) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", server
        server.closing.set()
        server.shutdown()


@contextlib.contextmanager
def mlflow_server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """MLflow's server over `folder`/mlflow.db: its address and its process, once it answers."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "mlartifacts")]
    without_jobs = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=without_jobs, stdout=log, stderr=log, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            time.sleep(0.2)
        yield address, process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a server and the processes that it started, unless that is done: its number is free."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
