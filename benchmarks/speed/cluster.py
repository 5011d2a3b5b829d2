"""What a Ray cluster costs and gains: CPU and wall time of registration, folds and embedding.

    python -m benchmarks.speed.cluster --weights weights

The same work in this process, then on a cluster of this machine with one and with two nodes, each
bound to a core of its own. CPU seconds are those of all its processes, user and system, once the
workers have imported what they need; results have to be the same bytes. Needs Ray (make CLUSTER=1
setup), and weights of both backbones. Prints a table, and writes benchmarks/results/cluster.json.
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
from knee.classifier.features import embedding, engines, feature_tasks
from knee.classifier.features.feature_source import Source
from knee.classifier.features.views import Views
from knee.classifier.net.design import BackboneDesign
from knee.classifier.training import fold_training
from knee.copies import copy_check
from knee.evidence.evaluation.fold_results import FoldResults
from knee.execution.local import Inline
from knee.execution.opening import Opened
from knee.execution.place import Place
from knee.run import command, parameters
from knee.splits import cross_validation
from knee.storage import row_files
from knee.storage.arrays import Pixels
from tests.execution import ray_cluster

RESULTS: Final = Path(__file__).parents[1] / "results" / "cluster.json"
IMAGES, PAIRS = 2000, 7168
ROWS, FOLDS = 240, 48
EMBEDDED: Final = {"mobilenet": 2048, "xception": 512}  # images, with their mirror images
TASK_PAIRS: Final = copy_check.BATCH_PAIRS * copy_check.TASK_BATCHES
WARM_TASKS: Final = 4  # two for each worker, so that all have imported and traced
IDLE_SECONDS: Final = 10.0  # without work: what the cluster itself takes


@dataclasses.dataclass(frozen=True)
class Work:
    """A kind of work, its trial on a node, and how many pieces of it warm up and are measured."""

    do: Callable[[Callable[[], Place], int], str]  # a place, pieces of work -> digest of results
    trial: Callable[[], str]
    few: int
    pieces: int
    files: str = "sent"  # how nodes get at files


def main() -> None:
    """Measure everything, or one kind of work at one place, in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    parser.add_argument(
        "--weights", type=Path, required=True, help="folder with mobilenet.h5 and xception.h5"
    )
    parser.add_argument("--only", nargs="+", help="kinds to measure again; others stay as they are")
    parser.add_argument("--work", help="one of the kinds alone, at --address")
    parser.add_argument("--address", help="of a cluster; none: this process")
    chosen = parser.parse_args()
    works = all_works(chosen.weights.absolute())
    if chosen.work:
        _measure(works[chosen.work], chosen.address)
        return
    if unknown := set(chosen.only or ()) - set(works):
        parser.error(f"--only: no kind {', '.join(unknown)}; there are: {'; '.join(works)}")
    found: dict[str, Any] = json.loads(RESULTS.read_text("utf-8")) if chosen.only else {}
    found["machine"] = machine.describe()
    for work in chosen.only or works:
        words = ["--weights", str(chosen.weights.absolute()), "--work", work]
        found[work] = {"this process": _driven(words, dict(os.environ))}
        for nodes in (1, 2):
            with (
                tempfile.TemporaryDirectory(prefix="r") as folder,
                ray_cluster.running(Path(folder), [{}] * nodes) as cluster,
            ):
                _bind(cluster)
                at = ["--address", cluster.address]
                made = _driven([*words, *at], cluster.environment, cluster)
                found[work][f"Ray, {nodes} nodes"] = made
        for place, one in found[work].items():
            print(f"{work:14} {place:14} {one}", flush=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _bind(cluster: ray_cluster.Cluster) -> None:
    """Bind each node, and what it starts from now on, to a core of its own."""
    _, *nodes = cluster.nodes
    for core, node in enumerate(nodes):
        for process in [node, *node.children(recursive=True)]:
            for thread in process.threads():
                os.sched_setaffinity(thread.id, {core})


def _driven(
    words: list[str], environment: dict[str, str], cluster: ray_cluster.Cluster | None = None
) -> dict[str, Any]:
    """The driver in a process of its own, and what the nodes use from its mark to its end."""
    with subprocess.Popen(
        [sys.executable, "-m", __spec__.name, *words],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        env=environment,
    ) as driver:
        stdin, stdout = driver.stdin, driver.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("no pipes")
        _until(stdout, "connected")
        before = _cpu_seconds(cluster)
        time.sleep(IDLE_SECONDS if cluster else 0)
        idle = _cpu_seconds(cluster) - before
        stdin.write("warm up\n")
        stdin.flush()
        _until(stdout, "ready")  # no pause after this: Ray ends workers that are idle
        before = _cpu_seconds(cluster)
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


def _measure(work: Work, address: str | None) -> None:
    """Say "connected", then "ready"; on a line of input do the work and print what it took."""
    settings = parameters.load(Path("params.yaml")).execution
    if address:
        changes = {
            "engine": "ray",
            "address": address,
            "trusted_network": True,
            "files": work.files,
        }
        settings = parameters.Execution(**{**vars(settings), **changes})
    with Opened(settings, work.trial) as place_of:
        place_of()
        print("connected", flush=True)
        sys.stdin.readline()
        work.do(place_of if address else Inline, work.few)  # imports and traces
        print("ready", flush=True)
        sys.stdin.readline()
        started, cpu = time.perf_counter(), time.process_time()
        digest = work.do(place_of if address else Inline, work.pieces)
        made = {
            "wall_seconds": round(time.perf_counter() - started, 2),
            "driver_cpu_seconds": round(time.process_time() - cpu, 2),
            "digest": digest,
        }
        print(json.dumps(made), flush=True)
        sys.stdin.readline()


@functools.cache  # made while all warms up
def _images() -> Pixels:
    """Generated images, and shifted copies of them in the same order."""
    from scipy.ndimage import gaussian_filter

    side = copy_check.REDUCED_SIDE_PIXELS
    noise = np.random.default_rng(0).normal(size=(IMAGES // 2, side, side))
    values = 128 + 400 * gaussian_filter(noise, (0, 3, 3))
    images = np.asarray(np.clip(values, 13, 255), np.uint8)
    return np.concatenate([images, np.roll(images, 2, axis=2)])


def registration(place_of: Callable[[], Place], pieces: int) -> str:
    """Register images with their shifted copies."""
    one = np.random.default_rng(0).integers(0, IMAGES // 2, pieces)
    pairs = np.column_stack([one, one + IMAGES // 2])
    registrar = copy_check.Registrar(None, place_of)
    made = registrar.register(_images(), pairs, np.eye(2, 3)[None].repeat(len(pairs), axis=0))
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


def embedded(net: embedding.FrozenNet, place_of: Callable[[], Place], pieces: int) -> str:
    """Embed noise and its mirror image."""
    generator = np.random.default_rng(0)
    views, side = Views(mirrored=True), net.design.side_pixels
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with row_files.written_rows(folder / "pixels", (side, side), np.uint8) as file:
            for _ in range(pieces):
                file.append(generator.integers(0, 256, (side, side), np.uint8))
        pixels = row_files.RowFile(folder / "pixels", has_views=False)
        shape = embedding.forward_of(net).output_shape
        compute = feature_tasks.compute_at(place_of(), net, pixels, views, folder / "by_nodes")
        embedding.embed(compute, shape, pixels, np.arange(pieces), views, folder / "features")
        return _digest(
            *(np.load(path, allow_pickle=False) for path in sorted((folder / "features").iterdir()))
        )


def all_works(weights: Path) -> dict[str, Work]:
    """Return each kind of work by its name."""
    found = {
        "registration": Work(registration, copy_check.trial, WARM_TASKS * TASK_PAIRS, PAIRS),
        "folds": Work(folds, _trial_of_folds(), WARM_TASKS, FOLDS),
    }
    for name, images in EMBEDDED.items():
        design = BackboneDesign(name, 224, str(weights), "head")
        net = embedding.FrozenNet(design, engines.choose(), cores=1)
        do, trial = functools.partial(embedded, net), functools.partial(embedding.trial, net)
        for files in ("sent", "shared") if name == "mobilenet" else ("sent",):
            few = min(WARM_TASKS * embedding.CHUNK_IMAGES, images // 2)
            found[f"{name}, {files}"] = Work(do, trial, few, images, files)
    return found


if __name__ == "__main__":
    main()
