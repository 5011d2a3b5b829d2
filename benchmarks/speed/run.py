"""All measurements of speed, as tables and as JSON under benchmarks/results.

python -m benchmarks.speed.run --data FOLDER --weights FOLDER
    [--only recipe engines inference scaling]

FOLDER has a sub-folder per class, and mobilenet.h5 and xception.h5. Run it on an idle machine.
`--quick` measures a few steps and images, to see that everything works.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.speed import engines, inference, recipe, scaling
from benchmarks.speed.workspace import Workspace
from knee.run import command

RESULTS = Path(__file__).parents[1] / "results"


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    parser.add_argument("--data", type=Path, required=True, help="folder of class folders")
    parser.add_argument("--weights", type=Path, required=True, help="folder with <backbone>.h5")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to write")
    parser.add_argument("--workspace", type=Path, help="kept afterwards; else temporary")
    parser.add_argument(
        "--whole", nargs="*", default=[], help="backbones on which the recipe runs to its end"
    )
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    measurements = ("recipe", "engines", "inference", "scaling")
    parser.add_argument(
        "--only", nargs="+", choices=measurements, default=measurements, help="what is measured"
    )
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (chosen.workspace or Path(temporary)).resolve()
        workspace = Workspace(folder, chosen.data.resolve(), chosen.weights.resolve())
        for name, run in _measurements(chosen, workspace).items():
            if name in chosen.only:
                _measure(name, run, chosen.results)


def _measurements(
    chosen: argparse.Namespace, workspace: Workspace
) -> Mapping[str, Callable[[], dict[str, Any]]]:
    quick, data, weights = chosen.quick, workspace.data, workspace.weights
    factors = [1, 4] if quick else [1, 4, 16]
    return {
        "engines": lambda: engines.measure(weights, 48 if quick else 768),
        "inference": lambda: inference.measure(data, weights, 32 if quick else 756),
        "recipe": lambda: recipe.measure(workspace, 3 if quick else 20, chosen.whole),
        "scaling": lambda: scaling.measure(workspace, factors, 256 if quick else 0),
    }


def _measure(name: str, run: Callable[[], dict[str, Any]], results: Path) -> None:
    facts = {"machine": machine.describe(), "gemm_gigaflops": round(machine.gemm_gigaflops(), 1)}
    start = time.perf_counter()
    found = {**facts, **run(), "seconds": round(time.perf_counter() - start, 1)}
    results.mkdir(parents=True, exist_ok=True)
    path = results / f"{name}.json"
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(f"\n{name} -> {path}")
    for key, value in _rows(found):
        print(f"  {key:<56} {value}")


def _rows(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += _rows(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", value))
    return rows


if __name__ == "__main__":
    main()
