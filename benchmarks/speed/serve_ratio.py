"""A server's rate against OpenVINO's alone, in turn, so that who else uses the machine counts less.

python -m benchmarks.speed.serve_ratio --model FOLDER [--images FOLDER] [--requests 600]
    [--out benchmarks/results/serving_ratio.json]

Each round lets OpenVINO answer canonical pixels in this process, then asks the server over eight
connections and over one. Processor time does not depend on who else uses the machine.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.machine import ROOT, describe
from benchmarks.speed import serve_load
from knee.classifier.features import engines
from knee.classifier.inference import converted
from knee.classifier.net.trained_model import TrainedModel
from knee.run import command
from knee.serving import loading

ROUNDS, LONGEST_SECONDS = 3, 600.0
MOST_IMAGES = 40


def bodies_of(folder: Path) -> list[bytes]:
    """Requests of one image each, of files from all of a folder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    texts = [base64.b64encode(file.read_bytes()).decode("ascii") for file in files]
    chosen = texts[:: max(len(texts) // MOST_IMAGES, 1)]
    return [json.dumps({"dataframe_records": [{"image": text}]}).encode() for text in chosen]


def alone(net: engines.CompiledNet, pixels: Any, images: int) -> dict[str, float]:
    """OpenVINO on canonical pixels, on all cores."""
    start, used = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda number: net(pixels[number % len(pixels)]), range(images)))
    seconds, used = time.perf_counter() - start, time.process_time() - used
    return {"images_per_second": images / seconds, "processor_milliseconds": 1000 * used / images}


def asked(
    port: int, server: psutil.Process, bodies: Sequence[bytes], images: int, clients: int
) -> dict[str, float]:
    """The server, over so many connections; its own processor time and this client's."""
    before, used = _processor_seconds(server), time.process_time()
    load = serve_load.Load(port, server, images, time.monotonic() + LONGEST_SECONDS)
    seconds = load.run(bodies, clients)
    if load.statuses[200] != images:
        raise SystemExit(f"not all were answered: {dict(load.statuses)}")
    served = _processor_seconds(server) - before
    return {
        "images_per_second": images / seconds,
        "p50_milliseconds": serve_load.milliseconds(load.seconds, 50),
        "p99_milliseconds": serve_load.milliseconds(load.seconds, 99),
        "processor_milliseconds": 1000 * served / images,
        "client_processor_milliseconds": 1000 * (time.process_time() - used) / images,
    }


def measure(model: Path, bodies: Sequence[bytes], images: int) -> dict[str, Any]:
    """All figures: medians of the rounds."""
    trained = TrainedModel.read(model)
    side = trained.canonical.side_pixels
    pixels = np.random.default_rng(0).integers(0, 256, (64, side, side)).astype(np.uint8)
    rounds: dict[str, list[dict[str, float]]] = {"openvino_alone": [], "8": [], "1": []}
    with serve_load.served(str(model)) as (port, server):
        digest = trained.training["model_sha256"]
        with converted.graph(digest, loading.cache(), _is_kept) as graph:
            net = engines.CompiledNet(graph, side)
        asked(port, server, bodies, len(bodies), 8)
        alone(net, pixels, len(pixels))
        for _ in range(ROUNDS):
            rounds["openvino_alone"].append(alone(net, pixels, images))
            rounds["8"].append(asked(port, server, bodies, images, 8))
            rounds["1"].append(asked(port, server, bodies, images // 2, 1))
    found = {
        name: {key: round(statistics.median(each[key] for each in made), 2) for key in made[0]}
        for name, made in rounds.items()
    }
    eight, one = found["8"], found["openvino_alone"]
    whole = eight["processor_milliseconds"] + eight["client_processor_milliseconds"]
    return {
        "backbone": trained.training["backbone"],
        "side_pixels": side,
        "images": images,
        "openvino_alone": one,
        "connections": {"8": eight, "1": found["1"]},
        "ratio": round(eight["images_per_second"] / one["images_per_second"], 3),
        "ratio_of_processor_time": round(one["processor_milliseconds"] / whole, 3),
    }


def _is_kept(graph: Path) -> None:
    raise SystemExit(f"{graph}: the server has just converted the model, and has not kept it")


def _processor_seconds(process: psutil.Process) -> float:
    every = [process, *process.children(recursive=True)]
    return sum(sum(each.cpu_times()[:2]) for each in every)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    parser.add_argument("--model", type=Path, required=True, help="folder of a model")
    parser.add_argument("--images", type=Path, help="folder of images to ask; default: drawn ones")
    parser.add_argument("--requests", type=int, default=600, help="a round, of one image each")
    out = ROOT / "benchmarks/results/serving_ratio.json"
    parser.add_argument("--out", type=Path, default=out, help="file to write")
    chosen = parser.parse_args(argv)
    machine = describe()
    bodies = bodies_of(chosen.images) if chosen.images else serve_load.images()
    found = measure(chosen.model, bodies, chosen.requests)
    text = json.dumps({"machine": machine, **found}, indent=2) + "\n"
    chosen.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
