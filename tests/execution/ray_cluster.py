"""A Ray cluster of this machine: a head without work and nodes, each a process of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import psutil

ROOT = Path(__file__).parents[2]
START_SECONDS = 120.0


@dataclasses.dataclass
class Cluster:
    """A running cluster."""

    port: int
    environment: dict[str, str]
    nodes: list[psutil.Popen]  # head first; each starts the processes of its node

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def processes(self, name: str) -> list[psutil.Process]:
        """Those of ours whose command begins so, such as raylet, gcs_server, or ray::_done."""
        found = []
        for node in self.nodes:
            with contextlib.suppress(psutil.Error):
                for process in node.children(recursive=True):
                    with contextlib.suppress(psutil.Error, IndexError):
                        if Path(process.cmdline()[0]).name.startswith(name):
                            found.append(process)
        return found

    def kill(self, name: str, number: int = 0) -> None:
        """SIGKILL to one of the processes of this name, once it is there."""
        waited(lambda: len(self.processes(name)) > number)
        self.processes(name)[number].send_signal(signal.SIGKILL)


@contextlib.contextmanager
def running(
    folder: Path, nodes: list[dict[str, str]], shared: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Cluster]:
    """A cluster with `nodes` of one core: variables of the environment of each, and of all."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": str(ROOT),  # for tasks that tests define
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **shared,
    }
    cluster = Cluster(port, environment, [])
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus"]
    of_all = ["--node-ip-address=127.0.0.1", "--object-store-memory=100000000"]
    head = ["0", "--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}"]

    def start(words: list[str], **variables: str) -> None:
        process = psutil.Popen(
            [*command, *words, *of_all, "--disable-usage-stats"],
            env={**environment, **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        cluster.nodes.append(process)

    try:
        start(head)
        waited(lambda: _listens(port))
        for number, variables in enumerate(nodes):  # side by side they take each other's ports
            start(["1", f"--address=127.0.0.1:{port}"], **variables)
            _wait_for_nodes(cluster, 2 + number)
        yield cluster
    finally:
        ours: list[psutil.Process] = [*cluster.nodes]
        for node in cluster.nodes:
            with contextlib.suppress(psutil.Error):
                ours += node.children(recursive=True)
        for process in ours:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(ours, timeout=20)


def waited(condition: Callable[[], bool]) -> None:
    """Wait until `condition`."""
    end = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.1)


def _wait_for_nodes(cluster: Cluster, count: int) -> None:
    """Wait until so many raylets run; the last has children once it belongs to the cluster."""
    waited(lambda: len(cluster.processes("raylet")) == count)
    waited(lambda: bool(cluster.processes("raylet")[-1].children()))
    time.sleep(2)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
