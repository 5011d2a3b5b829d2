r"""Run the pipeline as `dvc repro` does, several stages at a time.

python -m stages.repro [--at-once N]

`make repro` is the same. Results do not depend on it. dvc runs one stage after the other,
though most of a small run's time is work of one core, and no backbone waits for another one. Here a
stage begins once those that it waits for have ended. Where the stages to be run all wait for one
another this is `dvc repro`, and so it is, unless N says otherwise, with a GPU, on a cluster, or
with too little memory.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import FrameType
from typing import Any, Final

import psutil

from knee.classifier.net.design import BackboneDesign
from knee.execution import hardware
from knee.health import before_run, lock_file
from knee.run import command, dvc_notes, parameters, termination
from knee.run.messages import listed

DVC: Final = (sys.executable, "-m", "dvc", "repro")
DVC_FILE: Final = "dvc.yaml"
DVC_PROCESS: Final = (sys.executable, "-m", "stages.repro", "--dvc")  # dvc_notes knows it by --dvc
STAGE_BYTES: Final = 8e9  # of memory, for a training and the processes that it starts
TRAINING: Final = ("train@", "distil@", "cross_validate@")
BEGUN: Final = "\x02"  # the answer to what is asked
DONE: Final = "\x1e"  # before the exit status of a stage
TRACK_HINT: Final = "dvc.repo.scm_context"  # the logger that says after each stage what to commit
PUSH_HINT: Final = "Use `dvc push` to send your updates to remote storage."
END_SECONDS: Final = 30.0  # for a dvc that was told to end
ATTEMPTS: Final = 3  # at a stage whose dvc was killed before it began
MOST_AT_ONCE: Final = 64
log = logging.getLogger(__name__)


def read(folder: Path) -> tuple[Any, set[str]]:
    """Return the graph of the stages of the project in `folder`, and which of them have changed.

    They are those of dvc.yaml and what these wait for, as with `dvc repro`. The graph is networkx'
    directed one of their names: edges lead to what a stage waits for. Where dvc cannot tell, none
    is said to have changed: `dvc repro` then says why in its own words.
    """
    import networkx as nx  # type: ignore[import-untyped]
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    logging.getLogger("dvc").propagate = False  # it prints by itself
    with contextlib.suppress(DvcException), Repo(str(folder)) as repository, repository.lock:
        graph = repository.index.graph
        own = {stage for stage in graph if stage.path_in_repo == DVC_FILE}
        needed = own.union(*(nx.descendants(graph, stage) for stage in own))
        names = {stage: stage.addressing for stage in graph if stage in needed}
        due = [stage for stage in names if not stage.always_changed and stage.changed()]
        named = nx.relabel_nodes(graph.subgraph(names), names)
        return named, {names[stage] for stage in due}
    return nx.DiGraph(), set()


def is_wide(graph: Any, changed: Collection[str]) -> bool:
    """Whether some of the `changed` stages, and of those that wait for them, can run at once."""
    import networkx as nx

    due = {*changed}.union(*(nx.ancestors(graph, stage) for stage in changed))
    return len(nx.dag_longest_path(graph.subgraph(due))) < len(due)


def urgency(graph: Any) -> dict[str, tuple[int, int]]:
    """Return a number of each stage that is larger the longer the way from it to the last stage.

    Of two that are equal in this the later one of dvc.yaml is first: a larger backbone stands
    behind a smaller one.
    """
    import networkx as nx

    ways: dict[str, int] = {}
    for stage in nx.topological_sort(graph):  # what others wait for comes after them
        ways[stage] = 1 + max((ways[one] for one in graph.predecessors(stage)), default=0)
    return {stage: (ways[stage], number) for number, stage in enumerate(graph)}


def most_at_once(settings: parameters.Params) -> int:
    """Return how many stages the machine can run at once."""
    if hardware.gpus() or settings.execution.engine != "local":
        return 1
    return max(1, min(hardware.cores(), int(hardware.memory_bytes() // STAGE_BYTES)))


def trainings(settings: parameters.Params, graph: Any) -> set[str]:
    """Return the stages that train more of a net than its head, which takes all cores."""
    weights, depth = settings.weights, settings.model.train_from
    design = BackboneDesign(settings.model.backbones[0], 0, weights, depth)
    return {one for one in graph if one.startswith(TRAINING)} if design.depth != "head" else set()


class DvcProcess:
    """A dvc that runs one stage after the other; what they print is passed on."""

    _printing = threading.Lock()

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            DVC_PROCESS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def run(self, stage: str, cores: int, memory: int, *, gives_way: bool) -> bool | None:
        """Run `stage`; whether it succeeded, None if it was not begun since dvc had been killed.

        Each line that is printed begins with the stage's name. So many stages share the machine's
        cores with it, and its memory; where it `gives_way` they have the cores first.
        """
        asked, said = self.process.stdin, self.process.stdout
        if asked is None or said is None:
            raise ValueError("a process without pipes")
        with contextlib.suppress(OSError, ValueError):  # it is dead, or told to end
            asked.write(f"{cores} {memory} {int(gives_way)} {stage}\n")
            asked.flush()
        has_begun = False
        for line in said:
            has_begun = has_begun or line.startswith(BEGUN)
            text, _, status = line.removeprefix(BEGUN).partition(DONE)
            if text.strip() and text.rstrip() != PUSH_HINT:
                with self._printing:
                    sys.stdout.write(f"{stage} | {text.rstrip()}\n")
                    sys.stdout.flush()
            if status.strip().isdecimal():
                return int(status) == 0
        self.process.wait()
        return False if has_begun else None

    def close(self) -> None:
        """Ask for nothing more: dvc ends after its stage."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()


class SideBySide:
    """The stages of a project, at most so many of them at a time."""

    def __init__(self, graph: Any, at_once: int, whole: Collection[str] = ()) -> None:
        """Take the graph that `read` gives.

        Each of those in `whole` has all cores; what begins while one runs leaves them to it, and
        computes while it does not need them: it builds its graph on one.
        """
        self._waits_for = {stage: {*graph.successors(stage)} for stage in graph}
        self._urgency = urgency(graph)
        self._at_once, self._whole = at_once, {*whole}
        self._starting = threading.Lock()
        self._is_ending = False
        self._idle: list[DvcProcess] = []
        self._all: set[DvcProcess] = set()

    def run(self) -> list[str]:
        """Run each stage that has changed; return the names of those that failed.

        A stage that fails leaves the others at work, but for those that wait for it. On Ctrl-C,
        which stages get, too, each has time to clean up; on SIGTERM dvc ends, and then its stage.
        """
        threads = ThreadPoolExecutor(self._at_once)
        patience = 0.0
        try:
            failed = self._scheduled(threads)
            patience = END_SECONDS
        except KeyboardInterrupt:
            patience = END_SECONDS
            raise
        finally:
            self._end(patience)
            threads.shutdown()  # what stages still print is passed on
            for dvc in self._all:
                if dvc.process.stdout is not None:
                    dvc.process.stdout.close()
        return failed

    def _scheduled(self, threads: ThreadPoolExecutor) -> list[str]:
        done: set[str] = set()
        failed: list[str] = []
        running: dict[Future[bool], str] = {}
        while True:
            ready = self._ready(done, {*done, *failed}, [*running.values()])
            together = min(self._at_once, len(running) + len(ready))
            for stage in ready[: self._at_once - len(running)]:
                gives_way = not self._whole.isdisjoint(running.values())
                running[threads.submit(self._run, stage, together, gives_way)] = stage
            if not running:
                return failed
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                stage = running.pop(future)
                if future.result():
                    done.add(stage)
                else:
                    failed.append(stage)

    def _ready(self, done: set[str], ended: set[str], running: list[str]) -> list[str]:
        """Those that wait for nothing any more, the most urgent first."""
        left = [stage for stage in self._waits_for if stage not in ended and stage not in running]
        ready = [stage for stage in left if self._waits_for[stage] <= done]
        return sorted(ready, key=self._urgency.__getitem__, reverse=True)

    def _run(self, stage: str, together: int, gives_way: bool) -> bool:
        if gives_way and stage in self._whole:
            log.info("%s leaves the cores to the training that runs already", stage)
        # What is trained as a whole takes all cores, but the others need memory meanwhile.
        cores = 1 if stage in self._whole else together
        for _ in range(ATTEMPTS):
            with self._starting:
                if self._is_ending:
                    return False
                self._idle = [dvc for dvc in self._idle if dvc.process.poll() is None]
                dvc = self._idle.pop() if self._idle else DvcProcess()
                self._all.add(dvc)
            succeeded = dvc.run(stage, cores, together, gives_way=gives_way)
            with self._starting:
                self._idle.append(dvc)
            if succeeded is not None:
                return succeeded
        return False

    def _end(self, patience_seconds: float) -> None:
        """End all dvc: after their stages, or, where that takes too long, with them."""
        with self._starting:
            self._is_ending = True
        deadline = time.monotonic() + patience_seconds
        for dvc in self._all:
            dvc.close()
        for dvc in self._all:
            with contextlib.suppress(subprocess.TimeoutExpired):
                dvc.process.wait(max(0.0, deadline - time.monotonic()))
        for dvc in self._all:
            dvc.process.terminate()
        for dvc in self._all:
            dvc.process.wait()


def run(params: Path, at_once: int) -> int:
    """Run all stages that have changed; the exit status. It may become `dvc repro`."""
    settings = parameters.load(params)
    before_run.check(settings)
    before_run.tell_leftovers(settings, params)
    for said in dvc_notes.put_in_order(Path.cwd()):
        log.warning("%s", said)
    for name in (hardware.CORES_SHARED_BY, hardware.MEMORY_SHARED_BY, command.GIVES_WAY):
        os.environ.pop(name, None)  # of a run that this one is part of
    at_once = at_once or most_at_once(settings)
    graph, changed = read(Path.cwd()) if at_once > 1 else (None, set())
    if not changed or not is_wide(graph, changed):
        sys.stdout.flush()
        os.execv(DVC[0], DVC)  # noqa: S606  # nosec B606  # no shell, our own program
    log.info("at most %d stages at a time", at_once)
    try:
        failed = SideBySide(graph, at_once, trainings(settings, graph)).run()
        if failed:
            sys.stderr.write(f"repro: failed: {listed(failed)}; the message is above\n")
    finally:
        lock_file.rewrap()
    return 1 if failed else 0


def serve() -> int:
    """Be a `DvcProcess`: run the stages that are asked for on the standard input."""
    from dvc.cli import main as dvc

    lock_file.write_quickly()
    logging.getLogger(TRACK_HINT).setLevel(logging.WARNING)
    signal.signal(signal.SIGINT, _pass_over)  # stages get it, too, and dvc sees that they fail
    starter = psutil.Process(os.getppid())
    threading.Thread(target=termination.end_after, args=(starter,), daemon=True).start()
    with os.fdopen(os.dup(0)) as asked:
        with Path(os.devnull).open() as nothing:
            os.dup2(nothing.fileno(), 0)  # stages are not to read what is asked
        for line in asked:
            sys.stdout.write(f"{BEGUN}\n")
            sys.stdout.flush()
            cores, memory, gives_way, stage = line.rstrip("\n").split(" ", 3)
            os.environ |= {hardware.CORES_SHARED_BY: cores, hardware.MEMORY_SHARED_BY: memory}
            os.environ[command.GIVES_WAY] = gives_way
            status = dvc(["--wait-for-lock", "repro", "--single-item", stage])
            sys.stderr.flush()
            sys.stdout.write(f"{DONE}{status}\n")
            sys.stdout.flush()
    return 0


def _pass_over(number: int, frame: FrameType | None) -> None:
    """Do nothing, unlike SIG_IGN, which stages would inherit."""


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = command.parser(__doc__)
    parser.add_argument(
        "--at-once",
        type=int,
        choices=range(MOST_AT_ONCE + 1),
        default=0,
        metavar="N",
        help="stages at a time, 1 for plain dvc repro; 0: what the machine can",
    )
    parser.add_argument("--dvc", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.dvc:
        return serve()
    return command.exit_status("repro", lambda: run(given.params, given.at_once))


if __name__ == "__main__":
    raise SystemExit(main())
