"""Hostile files through the pipeline's readers: used or rejected with a reason, never a crash.

make hostile                                                # all of it, about ten minutes
python -m benchmarks.hostile_files.run [--parts PART...] [--mutations N] [--first-seed N]
    [--workers N]
    [--downloads FOLDER] [--model FOLDER] [--results FILE.json]
python -m benchmarks.hostile_files.run --only SEED... --keep FOLDER    # make mutated files again

Parts: corpora (every file of Pillow's and pydicom's collections, one by one), largest (the largest
images that are allowed), ingest and predict (the real commands over the corpora and some mutated
files), fuzz (sheets and archives, by hypothesis), mutations; and serve, which has to be asked for:
the same files to the project's champion. Anything but a record or a reason is a failure: it is
printed with its seed, saved in the results, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks import machine
from benchmarks.hostile_files import commands, readers, requests
from benchmarks.hostile_files.bases import bases
from benchmarks.hostile_files.corpora import Fetched, fetch
from benchmarks.hostile_files.mutations import mutated
from benchmarks.hostile_files.pool import Bounds
from benchmarks.hostile_files.tables import shown
from knee.run import command

RESULTS: Final = Path(__file__).parents[1] / "results" / "hostile.json"
PARTS: Final = ("corpora", "largest", "ingest", "predict", "fuzz", "mutations")
SERVED: Final = "serve"  # not by default: it needs a registered champion
BOUNDS: Final = Bounds(seconds=60, megabytes=2048, megapixels=64)
MUTATIONS: Final = 50_000


def main() -> int:
    """Run what is asked for; 1 if anything failed."""
    chosen = _parsed()
    with tempfile.TemporaryDirectory(prefix="hostile-") as temporary:
        folder = Path(temporary) / "corpora"
        fetched = fetch(folder, chosen.downloads or Path(temporary) / "downloads")
        if chosen.only:
            return _again(chosen, folder)
        found = {
            "machine": machine.describe(),
            "bounds": vars(BOUNDS),
            "code": _revision(),
            "packages": [_told(each) for each in fetched],
        }
        earlier = _read(chosen.results)
        for name, run in _parts(chosen, folder, Path(temporary)).items():
            if name in chosen.parts:
                start = time.perf_counter()
                result = run()
                took = round(time.perf_counter() - start, 1)
                earlier[name] = {**found, **result, "seconds": took}
                print(f"\n{shown(name, earlier[name])}\n", flush=True)
                _write(chosen.results, earlier)
    failed = [name for name in chosen.parts if earlier[name]["failures"]]
    print(f"failed: {', '.join(failed)}" if failed else "no failure")
    return 1 if failed else 0


def _parts(
    chosen: argparse.Namespace, corpora: Path, temporary: Path
) -> dict[str, Callable[[], dict[str, Any]]]:
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.mutations)
    return {
        "corpora": lambda: readers.corpora(corpora, BOUNDS),
        "largest": lambda: readers.largest(temporary, BOUNDS),
        "ingest": lambda: commands.ingest(corpora, temporary, BOUNDS),
        "predict": lambda: commands.predict(corpora, temporary, BOUNDS, chosen.model),
        "fuzz": lambda: commands.fuzz(chosen.fuzz_profile),
        SERVED: lambda: requests.serve(corpora),
        "mutations": lambda: readers.mutations(seeds, corpora, BOUNDS, chosen.workers),
    }


def _again(chosen: argparse.Namespace, corpora: Path) -> int:
    """Make the files of some seeds again, and say what comes of them."""
    known = bases(corpora)
    if chosen.keep:
        chosen.keep.mkdir(parents=True, exist_ok=True)
        for seed in chosen.only:
            (chosen.keep / f"{seed}.bin").write_bytes(mutated(seed, known).content)
    failures = 0
    for seed in chosen.only:
        made = mutated(seed, known)
        print(f"{seed}: {made.base}; {', '.join(made.steps)}; {len(made.content)} bytes")
    found = readers.mutations(chosen.only, corpora, BOUNDS, chosen.workers)
    failures += len(found["failures"])
    print(json.dumps({"reasons": found["reasons"], "failures": found["failures"]}, indent=2))
    return 1 if failures else 0


def _revision() -> str:
    """The last commit's subject: hashes change when branches are put together."""
    command = ["git", "log", "-1", "--format=%s"]
    done = subprocess.run(command, cwd=machine.ROOT, check=False, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def _told(fetched: Fetched) -> dict[str, str]:
    names = ("package", "version", "archive", "sha256")
    return {name: str(getattr(fetched, name)) for name in names}


def _read(path: Path) -> dict[str, Any]:
    """Results of other parts, of an earlier run."""
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return known


def _write(path: Path, results: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    parser.add_argument(
        "--parts", nargs="+", choices=(*PARTS, SERVED), default=PARTS, help="what is tried"
    )
    parser.add_argument("--mutations", type=int, default=MUTATIONS, help="mutated files")
    parser.add_argument("--first-seed", type=int, default=0, help="of the mutations")
    cores = os.cpu_count() or 1
    parser.add_argument("--workers", type=int, default=cores, help="processes side by side")
    parser.add_argument("--downloads", type=Path, help="keeps the archives between runs")
    parser.add_argument(
        "--model", type=Path, help="of predict; else a tiny one with random weights"
    )
    parser.add_argument("--fuzz-profile", default="hostile", help="of tests/conftest.py")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to write")
    parser.add_argument("--only", nargs="+", type=int, metavar="SEED", help="mutated files alone")
    parser.add_argument("--keep", type=Path, help="with --only: where the files are written")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
