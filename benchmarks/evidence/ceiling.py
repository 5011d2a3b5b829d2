r"""How high a figure the data allow: learning curve, label noise, and figures within each origin.

    python -m benchmarks.evidence.ceiling --data-run FOLDER

FOLDER is a project in which `dvc repro` or `dvc exp run` with the grouped split has ended: its
params.yaml, data/, metrics/ and reports/comparison are read. Writes benchmarks/results/ceiling.json
and docs/images/learning_curve.png. Everything is by cross-validation of all pictures under one
label; nothing is chosen by it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.evidence import finished_run, label_noise, learning_curve
from benchmarks.evidence.finished_run import FinishedRun
from knee.records import conflicts
from knee.run import command
from knee.statistics import paired_comparison

RESULTS = Path(__file__).parents[1] / "results" / "ceiling.json"
CHART = machine.ROOT / "docs" / "images" / "learning_curve.png"
SIZES, FEWEST = 10, 40  # points of the curve, and training pictures of its first
TOGETHER = "both backbones"


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    parser.add_argument(
        "--data-run", type=Path, required=True, help="project in which the run has ended"
    )
    parser.add_argument("--target", type=float, default=0.8, help="macro-F1 that is aimed at")
    parser.add_argument("--repeats", type=int, default=3, help="of the cross-validation")
    parser.add_argument("--results-out", type=Path, default=RESULTS, help="file to write")
    parser.add_argument("--chart-out", type=Path, default=CHART, help="picture to write")
    chosen = parser.parse_args(argv)
    run = finished_run.read(chosen.data_run, "all")
    curves = _curves(run, chosen.repeats, chosen.target)
    facts = {
        "pictures": len(run.kept),
        "of_each_class": dict(zip(run.classes, _counts(run).tolist(), strict=True)),
        "learning_curve": curves,
        "label_noise": _label_noise(run),
        "within_origins": _within_origins(run),
    }
    text = json.dumps(facts, indent=2)
    chosen.results_out.write_text(text + "\n", encoding="utf-8")
    subtitle = f"linear probe, {len(run.kept)} pictures, grouped folds; dashed: fitted power law"
    learning_curve.chart(curves, chosen.target, subtitle, chosen.chart_out)
    print(text)


def _curves(run: FinishedRun, repeats: int, target: float) -> dict[str, Any]:
    """By feature set: each backbone's averaged map, and all of them side by side."""
    images = {name: run.averaged(name)[0] for name in run.settings.model.backbones}
    if len(images) > 1:
        images[TOGETHER] = np.concatenate([*images.values()], axis=1)
    most = min(len(fold.training) + len(fold.validation) for fold in run.folds(repeats))
    sizes = np.geomspace(FEWEST, most, SIZES).round().astype(np.int64)
    return {
        name: learning_curve.measure(run, features, sizes, repeats, target)
        for name, features in images.items()
    }


def _label_noise(run: FinishedRun) -> dict[str, Any]:
    chosen, groups = run.settings.cross_validate, run.kept["group"].to_numpy(np.int64)
    films = run.films
    readings = label_noise.second_readings(
        films, len(run.classes), chosen.bootstrap_draws, chosen.seed
    )
    conflicting = conflicts.conflicting_labels(films["picture"].tolist(), films["label"].tolist())
    return {
        "pictures": int(films["picture"].nunique()),
        "under_several_labels": len(conflicting),
        "two_collections": readings,
        "ceiling": _ceiling(run, readings),
        "confident_learning": {
            name: label_noise.confident_learning(
                run.labels,
                finished_run.probabilities(run.out_of_fold(name)),
                groups,
                chosen.bootstrap_draws,
                chosen.seed,
            )
            for name in run.settings.model.backbones
        },
    }


def _ceiling(run: FinishedRun, readings: dict[str, Any]) -> dict[str, float] | None:
    """Of a reader who knows the truth, judged by the labels of the kept pictures."""
    if not readings["pictures"]:
        return None
    origins = run.films.groupby("picture")["origin"].nunique()
    twice = float((run.kept["picture"].map(origins) > 1).mean())
    right, agreement = (readings[name]["value"] for name in ("label_right", "agreement"))
    return label_noise.ceiling(right, agreement, _counts(run), twice)


def _within_origins(run: FinishedRun) -> dict[str, Any]:
    """What stage compare says of models and of what needs no bone, by origin."""
    path = run.folder / "reports" / "comparison" / "comparison.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    evidence, metric = facts["evidence"]["cross_validation"], facts["metric"]
    if "reason" in evidence:
        return dict(evidence)
    counts = run.kept.groupby(["origin", "label"]).size()
    level = run.settings.compare.interval_level
    return {
        where: {
            "pictures": part["records"],
            **({"of_each_class": counts[where].to_dict()} if where in counts else {}),
            metric: {name: one[metric] for name, one in part["figures"].items()},
            "best_shortcut": paired_comparison.best_shortcuts(part, metric, level),
        }
        for where, part in [("all", evidence["overall"]), *evidence["within"].items()]
    }


def _counts(run: FinishedRun) -> Any:
    return np.bincount(run.labels, minlength=len(run.classes))


if __name__ == "__main__":
    main()
