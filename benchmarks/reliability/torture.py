"""Kill `dvc repro` at random moments, and see that nothing is lost: make torture N=10.

python -m benchmarks.reliability.torture --kills 10 [--seed 1] [--results FOLDER] [--markdown]

Beside an uninterrupted run, a clone of the project is killed and started again until all kills are
spent; now and then a parameter is changed for one attempt. In the end it has to have what the
uninterrupted run has, byte for byte. Everything happens in a temporary folder, on a small version
of the generated sample.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks import machine
from benchmarks.reliability.attempt import KINDS, Run
from benchmarks.reliability.victim import Clone
from knee.run import command

STAGES = 15  # of the clone, with one backbone
STAGES_BEFORE_KILL = 6  # at most that many begin in an attempt before its kill
SECONDS_INTO_STAGE = 10.0  # at most, after the last of them began
SECONDS_INTO_DVC = 4.0  # at most, where the kill comes before any stage
LONGEST_ATTEMPT_SECONDS = 1800.0
SECONDS_TO_VANISH = 60.0  # a stage notices once its libraries are loaded
CHANGES = (
    ("train.learning_rate", 0.002),
    ("evaluate.bootstrap_draws", 30),
    ("head.dense_units", 64),
    ("explain.images", 4),
)


@dataclasses.dataclass
class Kill:
    """One round: how an attempt was killed, and what became of it.

    Attributes:
        round: from 1.
        kind: one of `KINDS`.
        killed_after_s: into the attempt.
        running: the stage that was killed.
        changed: what stood otherwise in params.yaml in the next attempt.
        recovered_in_s: running time of later attempts until that stage was finished.
        mended: what `make repro` had to mend of dvc's own notes.
        verdict: "ok", or what went wrong.
    """

    round: int
    kind: str
    killed_after_s: float
    running: str
    changed: str = ""
    recovered_in_s: float | None = None
    mended: str = ""
    verdict: str = "ok"


COLUMNS = tuple(field.name for field in dataclasses.fields(Kill))


class Torture:
    """A clone that is killed until there are `count` of `kills`."""

    def __init__(self, clone: Clone, kills: list[Kill], count: int, seed: int) -> None:
        self._clone = clone
        self._count = count
        self.kills = kills
        self._random = random.Random(seed)
        self._spent = 0.0  # running time of all attempts
        self._waiting: list[tuple[Kill, float]] = []  # kills whose stage is not finished yet
        self._finished: set[str] = set()
        self.failures: list[str] = []

    def suffer(self, bar: Any) -> None:
        """Attempts and kills until there are enough, or an attempt ends before its kill."""
        while len(self.kills) < self._count:
            changed = self._change()
            self._mend()
            attempt = self._clone.repro()
            if not self._until_its_moment(attempt):
                self._done(attempt)
                break
            kill = Kill(
                round=len(self.kills) + 1,
                kind=list(KINDS)[len(self.kills) % len(KINDS)],
                killed_after_s=round(attempt.seconds, 1),
                running=attempt.stage(),
            )
            bar.set_postfix_str(f"{kill.kind} in {kill.running}")
            attempt.kill(kill.kind)
            self._note(attempt)
            self.kills.append(kill)
            self._waiting.append((kill, self._spent))
            self._wait_for_silence(kill)
            if changed:
                self._clone.restore_parameters()
            bar.update()
        self._clone.restore_parameters()
        self._mend()
        self._done(self._clone.repro())

    def _mend(self) -> None:
        """As `make repro` does first."""
        said = self._clone.command(sys.executable, "-m", "knee.run.dvc_notes").strip()
        if said and self.kills:
            self.kills[-1].mended = said

    def _change(self) -> bool:
        """After a third of the kills, another parameter for the next attempt alone."""
        if not self._waiting or self.kills[-1].round % 3 != 1:
            return False
        key, value = self._random.choice(CHANGES)
        self._clone.set(key, value)
        self.kills[-1].changed = f"{key}={value}"
        return True

    def _until_its_moment(self, attempt: Run) -> bool:
        """Wait for the moment of its kill; False if it ended before."""
        left = max(STAGES - len(self._finished), 1)
        stages = min(self._random.randint(0, STAGES_BEFORE_KILL), left)
        into = self._random.uniform(0.2, SECONDS_INTO_STAGE if stages else SECONDS_INTO_DVC)
        moment = None if stages else time.monotonic() + into
        while not attempt.ended:
            if attempt.seconds > LONGEST_ATTEMPT_SECONDS:
                self.failures.append(f"an attempt hangs in {attempt.stage()}")
                return True
            if moment is None and len(attempt.begun) >= stages:
                moment = time.monotonic() + into
            if moment is not None and time.monotonic() >= moment:
                return True
            time.sleep(0.02)
        return False

    def _done(self, attempt: Run) -> None:
        code = attempt.wait()
        self._note(attempt)
        if code:
            self.failures.append(f"dvc repro ended with {code}: {attempt.output[-1500:]}")

    def _note(self, attempt: Run) -> None:
        """Which killed stages this attempt has finished, and after how long."""
        code = 0 if not attempt.ended else attempt.wait()
        for kill, since in list(self._waiting):
            done = attempt.finished.get(kill.running)
            if done is None and kill.running == "dvc itself" and attempt.finished:
                done = min(attempt.finished.values())
            if done is None and code == 0 and attempt.ended:
                done = attempt.seconds  # restored from the cache, or not asked for any more
            if done is not None:
                kill.recovered_in_s = round(self._spent - since + done, 1)
                self._waiting.remove((kill, since))
        self._finished |= attempt.finished.keys()
        self._spent += attempt.seconds

    def _wait_for_silence(self, kill: Kill) -> None:
        deadline = time.monotonic() + SECONDS_TO_VANISH
        while left := self._clone.processes():
            if time.monotonic() > deadline:
                names = ", ".join(" ".join(process.cmdline()[:4]) for process in left)
                kill.verdict = f"left running: {names}"
                for process in left:
                    process.kill()
                return
            time.sleep(0.1)


def run_uninterrupted(whole: Clone) -> float:
    """All stages once, in one process, which is cheaper; the seconds that they took."""
    started = time.perf_counter()
    whole.command(sys.executable, "-m", "benchmarks.reliability.in_one_process")
    return time.perf_counter() - started


def torture(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """The whole trial in `folder`: facts, one entry a kill, and what failed."""
    started = time.perf_counter()
    whole = Clone(folder / "whole")
    whole.command(sys.executable, "-m", "knee.tracking", "prepare")
    store = folder / "mlflow.db"
    store.write_bytes((whole.folder / "mlflow.db").read_bytes())
    rounds: list[Kill] = []
    failures: list[str] = []
    clones: list[Clone] = []
    with ThreadPoolExecutor(1) as beside, tqdm(total=kills, unit="kill", disable=None) as bar:
        uninterrupted = beside.submit(run_uninterrupted, whole)
        while len(rounds) < kills and not failures:
            clones.append(Clone(folder / f"killed{len(clones) + 1}", store))
            trial = Torture(clones[-1], rounds, kills, seed + len(clones))
            trial.suffer(bar)
            failures += trial.failures
    error = uninterrupted.exception()
    if error:
        failures.append(f"the uninterrupted run failed: {error}")
    expected = whole.results()
    failures += [wrong for clone in clones for wrong in clone.faults(expected)]
    failures += [f"round {one.round}: {one.verdict}" for one in rounds if one.verdict != "ok"]
    return {
        "seed": seed,
        "kills": [dataclasses.asdict(one) for one in rounds],
        "passes": len(clones),
        "compared_files": len(expected),
        "uninterrupted_s": 0.0 if error else round(uninterrupted.result(), 1),
        "seconds": round(time.perf_counter() - started, 1),
        "failures": failures,
    }


def table(kills: Sequence[dict[str, Any]]) -> str:
    """The rounds, in Markdown."""
    head = [name.replace("_", " ") for name in COLUMNS]
    rows = [["" if kill[name] is None else str(kill[name]) for name in COLUMNS] for kill in kills]
    lines = [head, ["---"] * len(COLUMNS), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Torture and report; 1 if anything is not as it has to be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    parser.add_argument("--kills", type=int, default=10, help="of the pipeline, at random moments")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    results = machine.ROOT / "benchmarks" / "results"
    parser.add_argument("--results", type=Path, default=results, help="folder of torture.json")
    parser.add_argument("--markdown", action="store_true", help="show the last results again")
    chosen = parser.parse_args(argv)
    file = chosen.results / "torture.json"
    if not chosen.markdown:
        with tempfile.TemporaryDirectory(prefix="torture-", ignore_cleanup_errors=True) as folder:
            facts = {"machine": machine.describe()}
            facts |= torture(Path(folder), chosen.kills, chosen.seed)
        chosen.results.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    facts = json.loads(file.read_text(encoding="utf-8"))
    print(table(facts["kills"]))
    print(
        f"\n{len(facts['kills'])} kills in {facts['passes']} passes, {facts['seconds']} s "
        f"(one uninterrupted run beside it: {facts['uninterrupted_s']} s); "
        f"{facts['compared_files']} files compared byte for byte"
    )
    for failure in facts["failures"]:
        print(f"FAILED: {failure}")
    return 1 if facts["failures"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
