r"""Run the pipeline as `dvc repro` does, but the backbones side by side.

python -m stages.repro [--at-once N]

`make repro` is the same. dvc runs one stage after the other, and most of the time of a small run is
work of one core. From embed to explain no backbone waits for another one, nor does the audit of the
data: each of these branches gets a dvc of its own. What comes before and after is run as usual, and
so is everything where it would not help: one branch alone has something to do, there is a GPU, a
cluster, or too little memory. Results are the same bytes either way.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from knee.execution import hardware
from knee.run import command, parameters
from knee.run.messages import listed

DVC: Final = (sys.executable, "-m", "dvc")
BRANCH_BYTES: Final = 8e9  # of memory, for a training and the processes that it starts
ROOT_STAGE: Final = "embed"  # the first one of a backbone
ITEM: Final = "@"  # in the name of a stage that is run for each backbone
OTHERS: Final = "others"
END_SECONDS: Final = 30.0  # for a dvc that was told to end
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Plan:
    """The stages of a pipeline, in an order in which they can be run.

    Attributes:
        before: what the branches wait for.
        branches: stages that wait for no other branch, by backbone; under "others" those that wait
            for no backbone, and no backbone for them.
    """

    before: tuple[str, ...]
    branches: dict[str, tuple[str, ...]]

    def due(self, changed: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Return the branches that are to be run where these stages have changed."""
        everything = any(stage in changed for stage in self.before)
        return {
            name: stages
            for name, stages in self.branches.items()
            if everything or any(stage in changed for stage in stages)
        }


def plan(graph: Any, backbones: Sequence[str]) -> Plan:
    """Return the plan of a pipeline.

    Args:
        graph: networkx' directed graph of the stages' names; an edge leads to what a stage waits
            for.
        backbones: whose embed is where a branch begins. What waits for two of them is in none, nor
            is a stage that is run for all together ("compare", not "evaluate@mobilenet").
    """
    import networkx as nx  # type: ignore[import-untyped]

    order = list(nx.topological_sort(graph.reverse()))
    waits_for = {stage: nx.descendants(graph, stage) for stage in order}
    roots = {name: f"{ROOT_STAGE}@{name}" for name in backbones}
    upon = {
        stage: {name for name, root in roots.items() if root in waits_for[stage] | {stage}}
        for stage in order
    }
    branches = {
        name: [stage for stage in order if upon[stage] == {name} and ITEM in stage]
        for name in backbones
    }
    awaited = set().union(*(waits_for[stage] for stages in branches.values() for stage in stages))
    before = [stage for stage in order if not upon[stage] and stage in awaited]
    branches[OTHERS] = [stage for stage in order if not upon[stage] and stage not in awaited]
    return Plan(tuple(before), {name: tuple(stages) for name, stages in branches.items() if stages})


def read(folder: Path, backbones: Sequence[str]) -> tuple[Plan, set[str]]:
    """Return the plan of the project in `folder`, and which of its stages have changed."""
    import networkx as nx
    from dvc.repo import Repo

    with Repo(str(folder)) as repository, repository.lock:
        graph = repository.index.graph
        names = {stage: stage.addressing for stage in graph}
        changed = {
            name for stage, name in names.items() if not stage.always_changed and stage.changed()
        }
        return plan(nx.relabel_nodes(graph, names), backbones), changed


def most_at_once(settings: parameters.Params) -> int:
    """Return how many branches the machine can run at once."""
    if hardware.gpus() or settings.execution.engine != "local":
        return 1
    return max(1, min(hardware.cores(), int(hardware.memory_bytes() // BRANCH_BYTES)))


def run(settings: parameters.Params, at_once: int) -> int:
    """Run all stages that have changed; the exit status of dvc."""
    planned, changed = read(Path.cwd(), settings.model.backbones)
    due = planned.due(changed)
    if min(at_once, len(due)) > 1:
        status = subprocess.run([*DVC, "repro", *planned.before], check=False).returncode
        if status:
            return status
        log.info("side by side: %s", listed([*due]))
        if failed := Branches(at_once).run(due):
            sys.stderr.write(f"repro: failed: {listed(failed)}; the message is above\n")
            return 1
    return subprocess.run([*DVC, "repro"], check=False).returncode


class Branches:
    """Several dvc at work on one project, each on stages of its own."""

    def __init__(self, at_once: int) -> None:
        """Take how many are at work at the same time."""
        self._at_once = at_once
        self._running: list[subprocess.Popen[str]] = []
        self._printing = threading.Lock()

    def run(self, branches: dict[str, tuple[str, ...]]) -> list[str]:
        """Run the stages of each branch in their order; return the names of those that failed.

        A branch that fails leaves the others at work: what they finish is kept.
        """
        with ThreadPoolExecutor(self._at_once) as threads, self._ended():
            done = {name: threads.submit(self._run, name, branches[name]) for name in branches}
            try:
                return [name for name, status in done.items() if status.result()]
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    @contextlib.contextmanager
    def _ended(self) -> Iterator[None]:
        """Tell every dvc to end where this process is told to; its stage then ends, too."""
        try:
            yield
        except BaseException:
            for process in self._running:
                process.terminate()
            for process in self._running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(END_SECONDS)
            raise

    def _run(self, name: str, stages: Sequence[str]) -> int:
        """The exit status of a dvc that runs `stages`; each line it prints begins with `name`."""
        with subprocess.Popen(
            [*DVC, "--wait-for-lock", "repro", "--single-item", *stages],
            env={**os.environ, hardware.STAGES_AT_ONCE: str(self._at_once)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            self._running.append(process)
            for line in process.stdout or ():
                with self._printing:
                    sys.stdout.write(f"{name} | {line}")
                    sys.stdout.flush()
        return process.returncode


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = command.parser(__doc__)
    parser.add_argument(
        "--at-once",
        type=int,
        metavar="N",
        help="branches at the same time, 1 for plain dvc repro; default: what the machine can",
    )
    given = parser.parse_args(argv)

    def work() -> int:
        settings = parameters.load(given.params)
        return run(settings, given.at_once or most_at_once(settings))

    return command.exit_status("repro", work)


if __name__ == "__main__":
    raise SystemExit(main())
