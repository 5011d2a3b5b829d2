"""Memory and CPU time of copies, split, audit and oversample of many generated records.

    python -m benchmarks.speed.million --films 100000
    python -m benchmarks.speed.million --films 1000000 --share 0.02

Each stage runs in a process of its own on generated records, fingerprints and pixels
(`generated_records`). The registration of look-alikes is told the truth instead of computing it:
its time is known and grows with the pairs (docs/clusters.md). The searches among all images may
look up a `--share` of them alone, in an index of all; the time of the looking up alone is then
divided by the share, an extrapolation, and called so. Memory is the peak of the process in that
step. Prints a table and puts the figures into benchmarks/results/million_FILMS.json; with --folder,
stages can be run one by one. Needs 25 KB of disk a film there.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np

from benchmarks import machine
from benchmarks.speed import generated_records
from knee.copies import (
    affine_registration,
    altered_copies,
    copy_check,
    copy_groups,
    hash_search,
    look_alikes,
)
from knee.copies.fingerprints import FingerprintFile
from knee.records import conflicts, file_names, records_table
from knee.run import command, parameters
from knee.storage.arrays import Integers
from stages import audit, ingest, oversample, split

RESULTS: Final = Path(__file__).parents[1] / "results"
PARAMS: Final = Path("params.yaml")


class Meter:
    """CPU seconds and peak memory of the steps of this process."""

    def __init__(self, share: float) -> None:
        self.found: dict[str, dict[str, Any]] = {}
        self._share = share
        self._looked_up = 0.0  # CPU seconds of the step

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure the block."""
        _forget_peak()
        self._looked_up, started = 0.0, time.process_time()
        yield
        seconds = time.process_time() - started
        one: dict[str, Any] = {"cpu_seconds": round(seconds, 1), "peak_megabytes": _peak()}
        if self._looked_up and self._share < 1:
            of_all = seconds + self._looked_up * (1 / self._share - 1)
            one |= {"share_looked_up": self._share, "extrapolated_cpu_seconds": round(of_all)}
        self.found[name] = one
        sys.stderr.write(f"{name}: {one}\n")

    @contextmanager
    def looking_up(self) -> Iterator[None]:
        """Count the block as a search of a share of the images."""
        started = time.process_time()
        yield
        self._looked_up += time.process_time() - started


def _forget_peak() -> None:
    """Make the kernel's high-water mark of this process start anew."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak() -> int:
    """The high-water mark of resident memory, megabytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return round(next(float(line.split()[1]) * 1024 / 1e6 for line in lines if "VmHWM" in line))


@dataclasses.dataclass(frozen=True)
class Told(copy_check.Registrar):
    """A registration that is told which images are copies: those of one number in `groups`."""

    groups: Integers | None = None  # None: no two are

    def register(
        self, reduced: Any, pairs: Integers, maps: Any, progress: str = ""
    ) -> copy_check.Registered:
        """Return agreement 1 or 0 of each pair."""
        del reduced, progress
        groups = self.groups
        same = (
            np.zeros(len(pairs)) if groups is None else groups[pairs[:, 0]] == groups[pairs[:, 1]]
        )
        agree = same.astype(np.float64)
        return copy_check.Registered(maps, affine_registration.Agreement(agree, agree, agree))


def copies(films: int, folder: Path, share: float) -> dict[str, Any]:
    """Search for copies among fingerprints, step by step."""
    meter, search = Meter(share), ingest.search(parameters.load(PARAMS).ingest)
    with meter.step("fingerprints into a file, generated"):
        file = FingerprintFile(folder)
        for one in generated_records.fingerprints(films):
            file.append(one)
    upright, mirrored = file.hashes()
    queries = upright[: max(1, round(films * share))]
    with meter.step("hash search, both kinds"), meter.looking_up():
        for right in (upright, mirrored):
            hash_search.near_pairs(queries, right, search.radius_bits)
    with _share_looked_up(share, meter):
        with meter.step("look-alikes"):
            bank = look_alikes.pose_bank(turned=films <= search.turned_images)
            look_alikes.look_alikes(file.reduced, bank, search.neighbours, search.similarity)
        with meter.step("altered copies, without registration"):
            views = file.views(np.arange(films))
            altered_copies.relatives(views, search.similarity, search.copy, Told())
    told = Told(groups=generated_records.true_groups(films))
    with meter.step("links and groups, without registration"):
        pairs = generated_records.candidates(films)
        links = copy_groups.Links(pairs, np.eye(2, 3)[None].repeat(len(pairs), axis=0))
        links = copy_groups.verify(file.reduced, links, search.copy, told)
        copy_groups.consistent_groups(file.reduced, links, search, told)
    return meter.found


def records(films: int, folder: Path) -> dict[str, Any]:
    """Make the records table with groups, as ingest does after the search for copies."""
    meter = Meter(1)
    frame = generated_records.records(films)
    told = copy_groups.CopyGroups(generated_records.true_groups(films), [], [])
    asked = parameters.load(PARAMS).ingest
    search, lineage = ingest.search(asked), file_names.patterns_of(asked)
    with (
        meter.step("groups of the records table"),
        mock.patch.object(copy_groups, "copy_groups", return_value=told),
    ):
        grouped = copy_groups.add_groups(frame, FingerprintFile(), search, lineage)
    with meter.step("conflicts of labels"):
        resolved = conflicts.resolve(grouped.records, "quarantine")
    with meter.step("records written"):
        records_table.write_records(resolved, folder / "records.csv")
    return meter.found


@contextmanager
def _share_looked_up(share: float, meter: Meter) -> Iterator[None]:
    """Look up a share of the images' batches alone, in look-alikes, and count its time."""

    def starts(images: int) -> Iterator[int]:
        with meter.looking_up():
            yield from range(0, images, round(look_alikes.BATCH_IMAGES / share))

    with mock.patch.object(look_alikes, "starts_of_batches", starts):
        yield


def stage(name: str, films: int, folder: Path) -> dict[str, Any]:
    """Run a stage as dvc.yaml does."""
    module, files = STAGES[name]
    if name == "audit":
        generated_records.write_pixels(films, folder / "pixels")
    words = [word for flag, file in files.items() for word in (f"--{flag}", str(folder / file))]
    meter = Meter(1)
    with meter.step(name):
        if module.main(["--params", str(PARAMS), *words]):
            raise SystemExit(f"{name} failed")
    return meter.found


STAGES: Final[dict[str, tuple[Any, dict[str, str]]]] = {
    "split": (
        split,
        {
            "records": "records.csv",
            "split-out": "split.csv",
            "subsets-out": "subsets.csv",
            "metrics-out": "split.json",
        },
    ),
    "audit": (
        audit,
        {
            "records": "records.csv",
            "pixels": "pixels",
            "split": "split.csv",
            "audit-out": "audit.json",
            "shortcuts-out": "shortcuts.json",
            "report-out": "audit.html",
            "public-report-out": "public.html",
        },
    ),
    "oversample": (
        oversample,
        {"records": "records.csv", "split": "split.csv", "rows-out": "train_rows.csv"},
    ),
}
ORDER: Final = ("copies", "records", *STAGES)


def main() -> None:
    """Measure everything, or one stage in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    parser.add_argument("--films", type=int, default=10_000, help="generated")
    parser.add_argument("--share", type=float, default=1.0, help="of the images that are looked up")
    parser.add_argument("--folder", type=Path, help="of what is generated, which stays there")
    parser.add_argument("--stages", nargs="+", choices=ORDER, default=ORDER, help="in order")
    parser.add_argument("--stage", choices=ORDER, help="alone, in this process")
    chosen = parser.parse_args()
    if chosen.stage:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
        if chosen.stage == "copies":
            found = copies(chosen.films, chosen.folder, chosen.share)
        elif chosen.stage == "records":
            found = records(chosen.films, chosen.folder)
        else:
            found = stage(chosen.stage, chosen.films, chosen.folder)
        print(json.dumps(found))
        return
    temporary = tempfile.TemporaryDirectory() if chosen.folder is None else None
    try:
        folder = Path(temporary.name) if temporary else chosen.folder
        folder.mkdir(parents=True, exist_ok=True)
        for name in chosen.stages:
            _keep(chosen.films, _in_a_process(name, chosen.films, chosen.share, folder))
    finally:
        if temporary:
            temporary.cleanup()


def _keep(films: int, steps: dict[str, Any]) -> None:
    """Put the figures of these steps into the results, and print them."""
    path = RESULTS / f"million_{films}.json"
    before = json.loads(path.read_text(encoding="utf-8"))["steps"] if path.is_file() else {}
    content = {"machine": machine.describe(), "films": films, "steps": {**before, **steps}}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for name, one in steps.items():
        seconds = one.get("extrapolated_cpu_seconds", one["cpu_seconds"])
        note = " (extrapolated)" if "extrapolated_cpu_seconds" in one else ""
        print(f"{name:40} {seconds:9.1f} s {one['peak_megabytes']:6} MB{note}", flush=True)


def _in_a_process(stage_name: str, films: int, share: float, folder: Path) -> dict[str, Any]:
    own = [sys.executable, "-m", __spec__.name, "--films", str(films), "--share", str(share)]
    words = [*own, "--folder", str(folder), "--stage", stage_name]
    found: dict[str, Any] = json.loads(
        subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout
    )
    return found


if __name__ == "__main__":
    main()
