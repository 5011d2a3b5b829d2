"""What a Ray cluster costs and gains: CPU and wall time of registration and of folds.

    python -m benchmarks.speed.cluster

The same work in this process, then on a cluster of this machine with one and with two nodes of one
core each. CPU seconds are those of all its processes, user and system, once the workers have
imported what they need; results have to be the same bytes. Needs Ray (make CLUSTER=1 setup). Prints
a table, and writes benchmarks/results/cluster.json.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from benchmarks import machine
from knee.classifier.features.feature_source import Source
from knee.classifier.net.design import BackboneDesign
from knee.classifier.training import fold_training
from knee.copies import copy_check
from knee.evidence.evaluation.fold_results import FoldResults
from knee.execution.local import Inline
from knee.execution.opening import Opened
from knee.execution.place import Place
from knee.run import command, parameters
from knee.splits import cross_validation
from tests.execution import ray_cluster

RESULTS: Final = Path(__file__).parents[1] / "results" / "cluster.json"
IMAGES, ROWS = 2000, 240
IDLE_SECONDS: Final = 10.0  # without work: what the cluster itself takes
Work = Callable[[Callable[[], Place], int], str]  # a place, pieces of work -> digest of results


def main() -> None:
    """Measure everything, or one kind of work at one place, in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    parser.add_argument("--work", choices=sorted(WORKS), help="alone, at --address")
    parser.add_argument("--address", help="of a cluster; none: this process")
    chosen = parser.parse_args()
    if chosen.work:
        _measure(chosen.work, chosen.address)
        return
    found: dict[str, Any] = {"machine": machine.describe()}
    for work in WORKS:
        found[work] = {"this process": _driven(work, None, dict(os.environ))}
        for nodes in (1, 2):
            with (
                tempfile.TemporaryDirectory(prefix="r") as folder,
                ray_cluster.running(Path(folder), [{}] * nodes) as cluster,
            ):
                made = _driven(work, cluster.address, cluster.environment, cluster)
                found[work][f"Ray, {nodes} nodes"] = made
        for place, one in found[work].items():
            print(f"{work:14} {place:14} {one}", flush=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _driven(
    work: str,
    address: str | None,
    environment: dict[str, str],
    cluster: ray_cluster.Cluster | None = None,
) -> dict[str, Any]:
    """The driver in a process of its own, and what the nodes use from its mark to its end."""
    words = [sys.executable, "-m", __spec__.name, "--work", work]
    words += ["--address", address] if address else []
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, env=environment
    ) as driver:
        stdin, stdout = driver.stdin, driver.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("no pipes")
        _until(stdout, "ready")
        before = _cpu_seconds(cluster)
        time.sleep(IDLE_SECONDS if cluster else 0)
        idle = _cpu_seconds(cluster) - before
        before += idle
        stdin.write("go\n")
        stdin.flush()
        made: dict[str, Any] = json.loads(_until(stdout, "{"))
        made["nodes_cpu_seconds"] = round(_cpu_seconds(cluster) - before, 2)
        made["idle_nodes_cpu_share"] = round(idle / IDLE_SECONDS, 3)
        stdin.write("end\n")
        stdin.flush()
    return made


def _until(stream: Any, beginning: str) -> str:
    return next(str(line) for line in stream if line.startswith(beginning))


def _cpu_seconds(cluster: ray_cluster.Cluster | None) -> float:
    total = 0.0
    for node in cluster.nodes if cluster else ():
        for process in [node, *node.children(recursive=True)]:
            with contextlib.suppress(Exception):  # it ended meanwhile
                total += sum(process.cpu_times()[:2])
    return total


def _measure(work: str, address: str | None) -> None:
    """Say "ready", and on a line of input do the work and print what it took."""
    do, trial, short, full = WORKS[work]
    settings = parameters.load(Path("params.yaml")).execution
    if address:
        changes = {"engine": "ray", "address": address, "trusted_network": True}
        settings = parameters.Execution(**{**vars(settings), **changes})
    with Opened(settings, trial()) as place_of:
        do(place_of if address else Inline, short)  # imports and traces
        print("ready", flush=True)
        sys.stdin.readline()
        started, cpu = time.perf_counter(), time.process_time()
        digest = do(place_of if address else Inline, full)
        made = {
            "wall_seconds": round(time.perf_counter() - started, 2),
            "driver_cpu_seconds": round(time.process_time() - cpu, 2),
            "digest": digest,
        }
        print(json.dumps(made), flush=True)
        sys.stdin.readline()


def registration(place_of: Callable[[], Place], pieces: int) -> str:
    """Register look-alikes: shifted copies of generated images, and strangers."""
    from scipy.ndimage import gaussian_filter

    side = copy_check.REDUCED_SIDE_PIXELS
    generator = np.random.default_rng(0)
    noise = gaussian_filter(generator.normal(size=(IMAGES, side, side)), (0, 3, 3))
    images = np.asarray(np.clip(128 + 400 * noise, 13, 255), np.uint8)
    images[IMAGES // 2 :] = np.roll(images[: IMAGES // 2], 2, axis=2)
    one = generator.integers(0, IMAGES // 2, pieces)
    pairs = np.column_stack([one, one + IMAGES // 2])
    registrar = copy_check.Registrar(None, place_of)
    made = registrar.register(images, pairs, np.eye(2, 3)[None].repeat(len(pairs), axis=0))
    return _digest(made.maps, *made.agreement)


def _recipe() -> fold_training.Recipe:
    settings = parameters.load(Path("params.yaml"))
    train = {**_plain(settings.train), "epochs": 6, "members": 1}
    design = BackboneDesign("mobilenet", 224, train_from="head")
    return fold_training.Recipe("folds", design, _plain(settings.head), train, "none", 1, 3)


def _plain(section: Any) -> dict[str, Any]:
    return dataclasses.asdict(section)


def folds(place_of: Callable[[], Place], pieces: int) -> str:
    """Train folds of the default head on noise."""
    generator = np.random.default_rng(0)
    features = generator.random((1, ROWS, 7, 7, 1024)).astype(np.float16)
    number = np.arange(ROWS)
    columns = {"record": number, "pixel_row": number, "class_index": number % 3}
    kept = pd.DataFrame({**columns, "label": number % 3, "group": number})
    protocol = cross_validation.CrossValidationProtocol(pieces, 1, 0.15, 1)
    planned = cross_validation.plan_folds(kept, protocol)
    with tempfile.TemporaryDirectory() as folder:
        done = FoldResults(Path(folder), "none")
        source = Source(features, pixels=False)
        made = fold_training.train_folds(_recipe(), source, kept, planned, done, place_of)
    return _digest(*(one.probabilities for one in made))


def _digest(*arrays: Any) -> str:
    content = b"".join(np.ascontiguousarray(one).tobytes() for one in arrays)
    return hashlib.sha256(content).hexdigest()[:16]


def _trial_of_folds() -> Callable[[], str]:
    shape = Source(np.empty((0, 0, 7, 7, 1024), np.float16), pixels=False)
    return functools.partial(fold_training.trial, _recipe(), shape)


WORKS: Final[dict[str, tuple[Work, Callable[[], Callable[[], str]], int, int]]] = {
    "registration": (registration, lambda: copy_check.trial, 512, 3200),
    "folds": (folds, _trial_of_folds, 2, 6),
}

if __name__ == "__main__":
    main()
