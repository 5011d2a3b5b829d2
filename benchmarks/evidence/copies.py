"""Grouping at scale: time, memory, and the recall of planted copies among random hashes.

    python -m benchmarks.evidence.copies [--records 10000 100000 1000000]

Each size runs in a process of its own. One record in ten is a copy: its hash differs from that of
its source in up to the configured radius, half of them exactly at it; half of the copies are
mirrored. Strangers' hashes are random, so every other pair found is a false one. A tenth of the
sources are look-alikes of one another (about 80 bits apart), as hashes of radiographs are: they
fill the same buckets. Registration of pixels is not in it. Writes benchmarks/results/copies.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from knee.copies import hash_search
from knee.records.components import components
from knee.run import command, parameters
from knee.storage.arrays import Integers, Pixels

RESULTS = Path(__file__).parents[1] / "results" / "copies.json"
HASH_BITS = 256
LOOK_ALIKE_CHANGED = 0.18  # share of bits in which a look-alike differs from their common mean


class Memory(threading.Thread):
    """The largest resident memory of this process, in bytes, looked at every 20 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._stopped = threading.Event()
        self._largest = 0
        self.start()

    def run(self) -> None:
        """Watch."""
        while not self._stopped.wait(0.02):
            self._largest = max(self._largest, psutil.Process().memory_info().rss)

    def stop(self) -> int:
        """End and tell."""
        self._stopped.set()
        self.join()
        return self._largest


def planted(count: int, radius_bits: int, seed: int = 42) -> tuple[Pixels, Pixels, Integers]:
    """Hashes, hashes of the mirror images, uint8 (count, 32), and the planted pairs."""
    random = np.random.default_rng(seed)
    left = random.integers(0, 256, (count, HASH_BITS // 8), np.uint8)
    right = random.integers(0, 256, (count, HASH_BITS // 8), np.uint8)
    alike = random.choice(count, count // 10, replace=False)
    changed = random.random((len(alike), HASH_BITS)) < LOOK_ALIKE_CHANGED
    mean = random.integers(0, 256, HASH_BITS // 8, np.uint8)
    left[alike] = mean ^ np.packbits(changed, axis=1)
    copies = random.permutation(np.arange(1, count))[: count // 10]
    rest = np.setdiff1d(np.arange(count), copies)
    sources = rest[random.integers(0, np.searchsorted(rest, copies))]  # an earlier record
    bits = np.where(
        random.random(len(copies)) < 0.5,
        radius_bits,
        random.integers(0, radius_bits + 1, len(copies)),
    )
    for number, (copy, source) in enumerate(zip(copies, sources, strict=True)):
        flipped = np.zeros(HASH_BITS, np.uint8)
        flipped[random.choice(HASH_BITS, bits[number], replace=False)] = 1
        one, two = (left, left) if number % 2 else (left, right)
        two[copy] = one[source] ^ np.packbits(flipped)
    return left, right, np.stack([sources, copies], axis=1).astype(np.int64)


def measure(count: int, radius_bits: int) -> dict[str, Any]:
    """One size; run it in a fresh process, or the memory is that of all before it too."""
    left, right, truth = planted(count, radius_bits)
    memory = Memory()
    start = time.perf_counter()
    upright = hash_search.near_pairs(left, left, radius_bits)
    mirrored = hash_search.near_pairs(left, right, radius_bits)
    found = np.concatenate([upright, mirrored])
    groups = components(count, map(tuple, found.tolist()))
    seconds = time.perf_counter() - start
    code = np.int64(count)
    known = truth[:, 0] * code + truth[:, 1]
    hit = np.isin(known, found[:, 0] * code + found[:, 1])
    # Two copies of one source may be near each other too: a false merge joins two sources.
    of_source = np.arange(count)
    of_source[truth[:, 1]] = truth[:, 0]
    false = int((of_source[found[:, 0]] != of_source[found[:, 1]]).sum())
    return {
        "records": count,
        "seconds": round(seconds, 1),
        "peak_gibibytes": round(memory.stop() / 2**30, 2),
        "exhaustive": count <= hash_search.EXHAUSTIVE_HASHES,
        "planted_pairs": len(truth),
        "recall": round(float(hit.mean()), 5),
        "false_pairs": false,
        "groups": int(groups.max() + 1),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    sizes = [10_000, 100_000, 1_000_000]
    parser.add_argument("--records", type=int, nargs="+", default=sizes, help="to search among")
    parser.add_argument("--results-out", type=Path, default=RESULTS, help="file to write")
    arguments = parser.parse_args()
    radius = parameters.load(Path("params.yaml")).ingest.hash_radius_bits
    rows = []
    print("records     seconds  GiB    recall   false pairs")
    for count in arguments.records:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            row = pool.apply(measure, (count, radius))
        rows.append(row)
        print(
            f"{row['records']:9,d} {row['seconds']:9.1f}  {row['peak_gibibytes']:5.2f}  "
            f"{row['recall']:.5f}  {row['false_pairs']}"
        )
    facts = {
        "radius_bits": radius,
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "sizes": rows,
    }
    arguments.results_out.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
