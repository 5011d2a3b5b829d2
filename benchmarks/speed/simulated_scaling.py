"""Simulated scaling to 64 workers, from the measured time of a task and the driver's share of it.

    python -m benchmarks.speed.simulated_scaling

A simulation, no measurement: no cluster of that size was at hand. It plays the loop of
`knee.execution.ordered`: one driver, which submits a task after the other and takes results in
order, at most two tasks a worker ahead; workers of one core that are all alike. A task's CPU
seconds on a node and the driver's for it are those of benchmarks/results/cluster.json (Ray, one
node, less what it takes idle); all of the driver's count as serial. Left out are the start of the
cluster, the network's speed, and tasks that take longer than others. Prints a table of speed-ups
over one worker, and writes benchmarks/results/cluster_simulated.json.
"""

from __future__ import annotations

import argparse
import heapq
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from benchmarks.speed import cluster
from knee.copies import copy_check
from knee.run import command

RESULTS: Final = cluster.RESULTS.with_name("cluster_simulated.json")
AHEAD: Final = 2  # tasks a worker, as knee/execution/on_ray.py has it
WORKERS: Final = (1, 2, 4, 8, 16, 32, 64)
PAIRS_OF_A_MILLION: Final = 13_400_000  # candidates of a million films, docs/clusters.md
# A training of the default head on 3,024 rows: 20 epochs of 1.7 s on two cores, docs/operations.md.
FOLD_SECONDS: Final = 20 * 1.7 * 2


@dataclass(frozen=True)
class Work:
    """Tasks that are all alike."""

    tasks: int
    task_seconds: float  # of a worker's core
    driver_seconds: float  # of the driver, for each task


def simulated_seconds(work: Work, workers: int) -> float:
    """Return how long `work` takes: each task begins as soon as it is submitted to a free worker.

    The driver submits while fewer than `AHEAD` tasks a worker are under way, then waits for
    the oldest.
    """
    free = [0.0] * workers
    running: deque[float] = deque()  # when each ends, oldest first
    now, submitted = 0.0, 0
    while submitted < work.tasks or running:
        while submitted < work.tasks and len(running) < AHEAD * workers:
            now += work.driver_seconds
            ends = max(now, heapq.heappop(free)) + work.task_seconds
            heapq.heappush(free, ends)
            running.append(ends)
            submitted += 1
        now = max(now, running.popleft())
    return now


def speed_ups(work: Work) -> dict[int, float]:
    """Return how many times faster than one worker each number of `WORKERS` is."""
    alone = simulated_seconds(work, 1)
    return {workers: round(alone / simulated_seconds(work, workers), 1) for workers in WORKERS}


def measured(found: Mapping[str, Any], name: str, tasks: int) -> tuple[float, float]:
    """Return CPU seconds of a node and of the driver for each of so many `tasks`, by cluster.json.

    What the node takes without work is left out.
    """
    one = found[name]["Ray, 1 nodes"]
    idle = one["idle_nodes_cpu_share"] * one["wall_seconds"]
    return (one["nodes_cpu_seconds"] - idle) / tasks, one["driver_cpu_seconds"] / tasks


def works(found: Mapping[str, Any]) -> dict[str, Work]:
    """Return what is simulated: what was measured, and the same at the size of real work."""
    pairs = copy_check.BATCH_PAIRS * copy_check.TASK_BATCHES
    registration = measured(found, "registration", -(-cluster.PAIRS // pairs))
    fold, of_driver = measured(found, "folds", cluster.FOLDS)
    return {
        "registration of a million films": Work(PAIRS_OF_A_MILLION // pairs, *registration),
        "1,000 folds as small as measured": Work(1000, fold, of_driver),
        "90 folds of 3,024 rows, 20 epochs": Work(90, FOLD_SECONDS, of_driver),
    }


def main() -> None:
    """Simulate, print and write."""
    argparse.ArgumentParser(description=__doc__, formatter_class=command.Help).parse_args()
    found = json.loads(cluster.RESULTS.read_text(encoding="utf-8"))
    result = {
        name: {
            **{key: round(value, 3) for key, value in asdict(work).items()},
            "simulated_speed_up": speed_ups(work),
        }
        for name, work in works(found).items()
    }
    content = {"simulation": True, "measured_on": found["machine"], "works": result}
    RESULTS.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(f"{'simulated speed-up':36}", *(f"{workers:6}" for workers in WORKERS))
    for name, one in result.items():
        print(f"{name:36}", *(f"{value:6.1f}" for value in one["simulated_speed_up"].values()))


if __name__ == "__main__":
    main()
