"""ingest, split, audit and embed of so many generated films, end to end: time, memory, disk.

    python -m benchmarks.speed.end_to_end --films 2000 --weights weights

The films are drawn by the sample's code, each another knee, with its planted copies and faults.
DVC's part is the manifest (`stages.manifest`), which stands for the folder. Seconds are wall time,
which other programs lengthen, and CPU time of all threads; memory is the largest of the process.
Prints a table and writes benchmarks/results/end_to_end_FILMS.json. Run it on an idle machine;
100,000 films need 55 GB of disk in --folder.
"""

from __future__ import annotations

import argparse
import functools
import json
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks import machine
from benchmarks.machine import Cost
from benchmarks.speed.workspace import Workspace
from knee.run import command
from knee.synthetic.cohort import write_sample

RESULTS: Final = Path(__file__).parents[1] / "results"
FILMS_A_PATIENT: Final = 1.5  # about
SIDE_PIXELS, SEED, BACKBONE = 256, 2026, "mobilenet"


def measured(work: Callable[[], Cost]) -> dict[str, Any]:
    """Run a command in a process of its own; its seconds and peak memory."""
    before = _cpu_seconds()
    cost = work()
    return {
        "wall_seconds": round(cost.seconds, 1),
        "cpu_seconds": round(_cpu_seconds() - before, 1),
        "peak_megabytes": round(cost.peak_megabytes),
    }


def _cpu_seconds() -> float:
    """Of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def stages(workspace: Workspace, manifest: Path) -> dict[str, dict[str, Any]]:
    """Run each stage once, and measure it."""
    path = workspace.path
    records, pixels = f"--records={path('records.csv')}", f"--pixels={path('pixels')}"
    split = f"--split={path('split.csv')}"
    making = ["stages.manifest", str(workspace.data), f"--out={manifest}"]
    found = {"manifest": measured(lambda: machine.run(making))}
    found["manifest, again"] = measured(lambda: machine.run(making))
    flags = {
        "ingest": [
            f"--images={workspace.data}",
            f"--manifest={manifest}",
            f"--sheet={machine.ROOT / 'conf' / 'no_sheet.csv'}",
            f"--records-out={path('records.csv')}",
            f"--pixels-out={path('pixels')}",
            f"--known-results={path('known')}",
        ],
        "split": [
            records,
            f"--keep={machine.ROOT / 'conf' / 'no_split.csv'}",
            f"--split-out={path('split.csv')}",
            f"--images-out={path('split_images.csv')}",
            f"--subsets-out={path('subsets.csv')}",
            f"--metrics-out={path('split.json')}",
        ],
        "audit": [
            records,
            pixels,
            split,
            f"--audit-out={path('audit.json')}",
            f"--shortcuts-out={path('shortcuts.json')}",
            f"--report-out={path('audit.html')}",
            f"--public-report-out={path('public.html')}",
        ],
        "oversample": [records, split, f"--rows-out={path('rows.csv')}"],
        "embed": [
            f"--backbone={BACKBONE}",
            pixels,
            f"--images={path('split_images.csv')}",
            f"--known-results={path('known_features')}",
            f"--features-out={path('features')}",
        ],
    }
    for name, words in flags.items():
        found[name] = measured(functools.partial(workspace.stage, name, *words))
        print(f"{name:16} {found[name]}", flush=True)
    return found


def megabytes(path: Path) -> float:
    """Return the size of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return round(sum(file.stat().st_size for file in files) / 1e6, 1)


def main() -> None:
    """Draw the films, run the stages, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    parser.add_argument("--films", type=int, default=2000, help="about so many are drawn")
    parser.add_argument("--weights", type=Path, required=True, help="folder with mobilenet.h5")
    parser.add_argument("--folder", type=Path, help="of all files; none: a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        films = folder / "films"
        patients = round(given.films / FILMS_A_PATIENT)
        write_sample(
            films, folder / "truth.json", patients=patients, size_pixels=SIDE_PIXELS, seed=SEED
        )
        workspace = Workspace(folder / "work", films, given.weights.absolute())
        workspace.compose(f"data.manifest={folder / 'manifest.csv'}", "data.synthetic=true")
        found = stages(workspace, folder / "manifest.csv")
        outputs = ("records.csv", "pixels", "known", "known_features", "features")
        disk = {one: megabytes(workspace.path(one)) for one in outputs}
        disk["films"] = megabytes(films)
        files = sum(file.is_file() for file in films.rglob("*"))
    result = {"machine": machine.describe(), "films": files, "stages": found, "megabytes": disk}
    text = json.dumps(result, indent=2)
    (RESULTS / f"end_to_end_{given.films}.json").write_text(text + "\n", encoding="utf-8")
    print(f"{files} films; megabytes on disk: {disk}")


if __name__ == "__main__":
    main()
