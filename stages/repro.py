r"""Run the pipeline as `dvc repro` does, several stages at a time.

python -m stages.repro [--at-once N]

`make repro` is the same, and so are its results, byte for byte. dvc runs one stage after the other,
though most of a small run's time is work of one core, and no backbone waits for another one. Here a
stage begins once those that it waits for have ended. Where that gains nothing this is `dvc repro`:
what has changed is one stage after the other, there is a GPU or a cluster, or too little memory.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Final

from knee.classifier.net.design import BackboneDesign
from knee.execution import hardware
from knee.health import before_run
from knee.run import command, dvc_notes, parameters
from knee.run.messages import listed

DVC: Final = (sys.executable, "-m", "dvc", "repro")
DVC_PROCESS: Final = (sys.executable, "-m", "stages.repro", "--dvc")  # dvc_notes knows it by --dvc
STAGE_BYTES: Final = 8e9  # of memory, for a training and the processes that it starts
TRAINING: Final = ("train@", "distil@")
DONE: Final = "\x1e"  # before the exit status of a stage
TRACK_HINT: Final = "dvc.repo.scm_context"  # the logger that says after each stage what to commit
PUSH_HINT: Final = "Use `dvc push` to send your updates to remote storage."
END_SECONDS: Final = 30.0  # for a dvc that was told to end
INTERRUPTED: Final = 130
log = logging.getLogger(__name__)


def read(folder: Path) -> tuple[Any, set[str]]:
    """Return the graph of the stages of the project in `folder`, and which of them have changed.

    The graph is networkx' directed one of their names: edges lead to what a stage waits for. Where
    dvc cannot tell, nothing has changed: `dvc repro` then says why in its own words.
    """
    import networkx as nx  # type: ignore[import-untyped]
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    with contextlib.suppress(DvcException), Repo(str(folder)) as repository, repository.lock:
        graph = repository.index.graph
        names = {stage: stage.addressing for stage in graph}
        due = [stage for stage in graph if not stage.always_changed and stage.changed()]
        return nx.relabel_nodes(graph, names), {names[stage] for stage in due}
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
    order = list(nx.topological_sort(graph))  # what others wait for comes after them
    for stage in order:
        ways[stage] = 1 + max((ways[one] for one in graph.predecessors(stage)), default=0)
    return {stage: (ways[stage], number) for number, stage in enumerate(graph)}


def most_at_once(settings: parameters.Params) -> int:
    """Return how many stages the machine can run at once."""
    if hardware.gpus() or settings.execution.engine != "local":
        return 1
    return max(1, min(hardware.cores(), int(hardware.memory_bytes() // STAGE_BYTES)))


def trainings(settings: parameters.Params, graph: Any) -> set[str]:
    """Return the stages that train more of a net than its head: each of them takes all cores."""
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

    def run(self, stage: str, at_once: int) -> bool:
        """Run `stage` beside others, `at_once` with it; whether it succeeded.

        Each line that is printed begins with its name.
        """
        asked, said = self.process.stdin, self.process.stdout
        if asked is None or said is None:
            raise ValueError("a process without pipes")
        asked.write(f"{at_once} {stage}\n")
        asked.flush()
        for line in said:
            text, done, status = line.partition(DONE)
            if text.strip() and text.rstrip() != PUSH_HINT:
                with self._printing:
                    sys.stdout.write(f"{stage} | {text.rstrip()}\n")
                    sys.stdout.flush()
            if done:
                return int(status) == 0
        return False  # it was killed

    def end(self) -> None:
        """Tell dvc to end; a stage that it runs then ends, too."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_SECONDS)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class SideBySide:
    """The stages of a project, at most so many of them at a time."""

    def __init__(self, graph: Any, at_once: int, whole: Collection[str] = ()) -> None:
        """Take the graph that `read` gives; of the stages `whole` one runs at a time."""
        self._waits_for = {stage: {*graph.successors(stage)} for stage in graph}
        self._urgency = urgency(graph)
        self._at_once, self._whole = at_once, whole
        self._idle: queue.SimpleQueue[DvcProcess] = queue.SimpleQueue()
        self._all: list[DvcProcess] = []

    def run(self) -> list[str]:
        """Run each stage that has changed; return the names of those that failed.

        A stage that fails leaves the others at work, but for those that wait for it.
        """
        done: set[str] = set()
        failed: list[str] = []
        running: dict[Future[bool], str] = {}
        with ThreadPoolExecutor(self._at_once) as threads, self._ended():
            while True:
                ready = self._ready(done, {*done, *failed}, [*running.values()])
                together = min(self._at_once, len(running) + len(ready))
                for stage in ready[: self._at_once - len(running)]:
                    sharing = 1 if stage in self._whole else together
                    running[threads.submit(self._run, stage, sharing)] = stage
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
        ready.sort(key=self._urgency.__getitem__, reverse=True)
        whole = [stage for stage in [*running, *ready] if stage in self._whole]
        return [stage for stage in ready if stage not in whole[1:]]

    def _run(self, stage: str, together: int) -> bool:
        try:
            dvc = self._idle.get_nowait()
        except queue.Empty:
            dvc = DvcProcess()
            self._all.append(dvc)
        succeeded = dvc.run(stage, together)
        if dvc.process.poll() is None:
            self._idle.put(dvc)
        return succeeded

    @contextlib.contextmanager
    def _ended(self) -> Iterator[None]:
        try:
            yield
        finally:
            for dvc in self._all:
                dvc.end()


def run(params: Path, at_once: int) -> int:
    """Run all stages that have changed; the exit status."""
    settings = parameters.load(params)
    before_run.tell(settings, params)
    for said in dvc_notes.mended(Path.cwd()):
        log.warning("%s", said)
    at_once = at_once or most_at_once(settings)
    graph, changed = read(Path.cwd()) if at_once > 1 else (None, set())
    if not changed or not is_wide(graph, changed):
        return subprocess.run(DVC, check=False).returncode
    log.info("at most %d stages at a time", at_once)
    if failed := SideBySide(graph, at_once, trainings(settings, graph)).run():
        sys.stderr.write(f"repro: failed: {listed(failed)}; the message is above\n")
    return 1 if failed else 0


def serve() -> int:
    """Be a `DvcProcess`: run the stages that are asked for on the standard input."""
    from dvc.cli import main as dvc

    logging.getLogger(TRACK_HINT).setLevel(logging.WARNING)
    with os.fdopen(os.dup(0)) as asked:
        with Path(os.devnull).open() as nothing:
            os.dup2(nothing.fileno(), 0)  # stages are not to read what is asked
        for line in asked:
            os.environ[hardware.STAGES_AT_ONCE], stage = line.split()
            status = dvc(["--wait-for-lock", "repro", "--single-item", stage])
            sys.stderr.flush()
            sys.stdout.write(f"{DONE}{status}\n")
            sys.stdout.flush()
    return 0


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = command.parser(__doc__)
    parser.add_argument(
        "--at-once",
        type=int,
        default=0,
        metavar="N",
        help="stages at a time, 1 for plain dvc repro; default: what the machine can",
    )
    parser.add_argument("--dvc", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.dvc:
        return serve()
    try:
        return command.exit_status("repro", lambda: run(given.params, given.at_once))
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    raise SystemExit(main())
