r"""A trained model's server under load, on this machine: requests/s, latency, memory.

python -m benchmarks.speed.serve_load [--requests 10000] [--clients 4] [--most-seconds 1800]
    [--model models:/NAME@champion|FOLDER] [--out benchmarks/results/serving.json]

Starts `python -m stages.serve`, sends PNG and JPEG images, one a request, over a few connections
that are kept open, then some requests for Grad-CAM and some malformed ones, and ends the server.
Exits with 1 if a request was answered wrongly, or if resident memory, the server's and its
processes' together, grew by more than 10 % between the first tenth of the requests and the last.
"""

from __future__ import annotations

import argparse
import base64
import collections
import contextlib
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from benchmarks.machine import ROOT, describe
from knee.run import command

IMAGE_PIXELS = 512
IMAGES = 20
EXPLAINED, MALFORMED = 50, 200
START_SECONDS = 600
MOST_GROWTH = 0.10
BAD = b'{"dataframe_records": [{"image": [[NaN]]}]}'


def images() -> list[bytes]:
    """Bodies of requests: smooth gray images with noise, PNG and JPEG in turn."""
    random = np.random.default_rng(0)
    bodies = []
    for number in range(IMAGES):
        small = Image.fromarray(random.integers(0, 200, (12, 12)).astype(np.uint8))
        smooth = np.asarray(small.resize((IMAGE_PIXELS, IMAGE_PIXELS), Image.Resampling.BICUBIC))
        noisy = smooth + random.normal(0, 4, smooth.shape)
        content = io.BytesIO()
        image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
        image.save(content, format="PNG" if number % 2 else "JPEG")
        text = base64.b64encode(content.getvalue()).decode("ascii")
        bodies.append(json.dumps({"dataframe_records": [{"image": text}]}).encode())
    return bodies


def with_explanation(body: bytes) -> bytes:
    """The same request, with a Grad-CAM overlay asked for."""
    return json.dumps({**json.loads(body), "params": {"explain": True}}).encode()


class Client:
    """One connection that stays open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def ask(self, body: bytes) -> tuple[int, bytes, float]:
        """Status, answer and seconds of one request."""
        start = time.perf_counter()
        self._connection.request("POST", "/invocations", body, {"content-type": "application/json"})
        response = self._connection.getresponse()
        answer = response.read()
        return response.status, answer, time.perf_counter() - start


class Load:
    """Requests that some threads send until there are enough, and memory beside them."""

    def __init__(self, port: int, server: psutil.Process, requests: int, end: float) -> None:
        self._port, self._server, self._requests, self._end = port, server, requests, end
        self._lock = threading.Lock()
        self._begun = 0
        self.seconds: list[float] = []
        self.statuses: collections.Counter[int] = collections.Counter()
        self.not_a_number = 0
        self.megabytes: list[tuple[int, float]] = []

    def run(self, bodies: Sequence[bytes], clients: int) -> float:
        """Send them all; the wall time in seconds."""
        start = time.perf_counter()
        threads = [threading.Thread(target=self._work, args=(bodies,)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - start

    def _work(self, bodies: Sequence[bytes]) -> None:
        client = Client(self._port)
        every = max(self._requests // 20, 1)
        while True:
            with self._lock:
                number = self._begun
                if number >= self._requests or time.monotonic() > self._end:
                    return
                self._begun += 1
            status, answer, seconds = client.ask(bodies[number % len(bodies)])
            with self._lock:
                self.seconds.append(seconds)
                self.statuses[status] += 1
                self.not_a_number += status == 200 and not_finite(answer)
                if len(self.seconds) % every == 0:
                    self.megabytes.append((len(self.seconds), resident(self._server)))


def resident(server: psutil.Process) -> float:
    """Megabytes of the server and of the processes that it started."""
    processes = [server, *server.children(recursive=True)]
    return sum(process.memory_info().rss for process in processes) / 1e6


def not_finite(answer: bytes) -> bool:
    """Whether a JSON answer holds NaN or Infinity."""
    found: list[str] = []
    json.loads(answer, parse_constant=found.append)
    return bool(found)


def milliseconds(seconds: Sequence[float], percentile: float) -> float:
    """A percentile of latencies."""
    return round(1000 * float(np.percentile(seconds, percentile)), 1)


def measure(
    port: int, server: psutil.Process, requests: int, clients: int, longest: float
) -> dict[str, Any]:
    """All figures, of a server that answers."""
    bodies = images()
    for body in bodies:  # nothing is measured before everything has been used once
        _, first, _ = Client(port).ask(body)
    at_start = resident(server)
    load = Load(port, server, requests, time.monotonic() + longest)
    wall = load.run(bodies, clients)
    client = Client(port)
    client.ask(with_explanation(bodies[0]))
    explained = [client.ask(with_explanation(b)) for b in (bodies * 3)[:EXPLAINED]]
    refused = [client.ask(BAD) for _ in range(MALFORMED)]
    wrong = load.not_a_number + len(load.seconds) - load.statuses[200]
    tenth, last = load.megabytes[1][1], load.megabytes[-1][1]
    return {
        "requests": len(load.seconds),
        "clients": clients,
        "film_pixels": IMAGE_PIXELS,
        "model": json.loads(first)["predictions"][0]["model"],
        "statuses": {str(status): count for status, count in load.statuses.items()},
        "wrong_answers": wrong
        + sum(each[0] != 200 for each in explained)
        + sum(each[0] != 400 for each in refused),
        "requests_per_second": round(len(load.seconds) / wall, 1),
        "p50_milliseconds": milliseconds(load.seconds, 50),
        "p99_milliseconds": milliseconds(load.seconds, 99),
        "grad_cam_p50_milliseconds": milliseconds([each[2] for each in explained], 50),
        "malformed_p50_milliseconds": milliseconds([each[2] for each in refused], 50),
        "resident_megabytes_at_start": round(at_start, 1),
        "resident_megabytes": {str(count): round(size, 1) for count, size in load.megabytes},
        "resident_megabytes_after_grad_cam": round(resident(server), 1),
        "growth_after_first_tenth": round(last / tenth - 1, 4),
    }


def free_port() -> int:
    """One that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until the server answers."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/ping")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.5)
        finally:
            connection.close()
    raise SystemExit("the server did not start: see above")


@contextlib.contextmanager
def served(model: str) -> Iterator[tuple[int, psutil.Process]]:
    """Port and process of a server of `model`, or of the champion where that is ""."""
    port = free_port()
    words = [sys.executable, "-m", "stages.serve", "--port", str(port), "--synthetic-model-ok"]
    words += ["--model", model] if model else []
    with subprocess.Popen(
        words, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}, stdout=subprocess.DEVNULL
    ) as process:
        try:
            wait(port, process)
            yield port, psutil.Process(process.pid)
        finally:
            process.terminate()


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    parser.add_argument("--requests", type=int, default=10_000, help="of one image each")
    parser.add_argument("--clients", type=int, default=4, help="connections side by side")
    parser.add_argument("--most-seconds", type=float, default=1800.0, help="no request after them")
    parser.add_argument("--model", default="", help="as of stages.serve; default: the champion")
    out = ROOT / "benchmarks/results/serving.json"
    parser.add_argument("--out", type=Path, default=out, help="file to write")
    chosen = parser.parse_args(argv)
    if chosen.requests < 20:
        parser.error("--requests: at least 20")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # or the server would outlive this
    machine = describe()
    with served(chosen.model) as (port, server):
        found = measure(port, server, chosen.requests, chosen.clients, chosen.most_seconds)
    machine["load_after"] = [round(value, 2) for value in os.getloadavg()]
    text = json.dumps({"machine": machine, **found}, indent=2) + "\n"
    chosen.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    flat = found["growth_after_first_tenth"] <= MOST_GROWTH
    return 0 if flat and not found["wrong_answers"] and found["requests"] == chosen.requests else 1


if __name__ == "__main__":
    raise SystemExit(main())
