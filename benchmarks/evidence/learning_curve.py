"""Macro-F1 of the linear probe against the number of training pictures, and its power law.

Learning curves of many tasks follow a power law towards a level of their own (Hestness et al. 2017,
https://arxiv.org/abs/1712.00409): figure(n) = level - scale * n ** -exponent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.evidence import probes
from benchmarks.evidence.finished_run import FinishedRun
from knee.drawing import charts, palette
from knee.splits.cross_validation import Fold
from knee.statistics import scores
from knee.statistics.bootstrap import Bootstrap
from knee.storage.arrays import AnyFloats, Integers

METRIC = "macro_f1"
EXPONENTS = np.geomspace(0.05, 2, 80)  # tried; the other two parameters follow by least squares
LEVEL = 0.95  # of the intervals


@dataclass(frozen=True)
class Law:
    """figure(n) = level - scale * n ** -exponent, each of them (curves,)."""

    level: AnyFloats
    scale: AnyFloats
    exponent: AnyFloats

    def needed(self, target: float) -> AnyFloats:
        """(curves,) training pictures until `target`; infinite where the level is not above."""
        above = np.maximum(self.level - target, 1e-12)
        pictures = (self.scale / above) ** (1 / self.exponent)
        return np.where(self.level > target, pictures, np.inf)


def ordered(labels: Integers, groups: Integers, rows: Integers, seed: int) -> Integers:
    """`rows` so that each start of them has nearly the shares of the classes; groups together."""
    names, first, group_of = np.unique(groups[rows], return_index=True, return_inverse=True)
    label_of = labels[rows][first]
    shuffled = np.random.default_rng(seed).permutation(len(names))
    place = np.empty(len(names))
    for label in np.unique(label_of):
        inside = shuffled[label_of[shuffled] == label]
        place[inside] = (np.arange(len(inside)) + 0.5) / len(inside)
    return rows[np.argsort(place[group_of], kind="stable")]


def out_of_fold(
    features: AnyFloats, labels: Integers, groups: Integers, folds: Sequence[Fold], size: int
) -> list[npt.NDArray[np.float64]]:
    """(records, classes) a repeat, each record by a probe of `size` pictures outside its fold."""
    repeats = 1 + max(fold.repeat for fold in folds)
    found = [np.zeros((len(labels), labels.max() + 1)) for _ in range(repeats)]
    for number, fold in enumerate(folds):
        outside = np.concatenate([fold.training, fold.validation])
        rows = ordered(labels, groups, outside, seed=number)[:size]
        made = probes.probe(features[rows], labels[rows], features[fold.held_out])
        found[fold.repeat][fold.held_out] = made
    return found


def fit(sizes: Integers, figures: AnyFloats) -> Law:
    """The power law nearest to each row of `figures` (curves, sizes), level at most 1."""
    best = np.full(len(figures), np.inf)
    kept = np.zeros((3, len(figures)))
    for exponent in EXPONENTS:
        x = sizes.astype(np.float64) ** -exponent
        shifted = x - x.mean()
        scale = np.maximum(-(figures @ shifted) / (shifted @ shifted), 0)
        level = figures.mean(axis=1) + scale * x.mean()
        high = level > 1
        level = np.where(high, 1, level)
        scale = np.where(high, np.maximum((1 - figures) @ x / (x @ x), 0), scale)
        error = np.square(level[:, None] - scale[:, None] * x - figures).sum(axis=1)
        better = error < best
        best = np.where(better, error, best)
        kept = np.where(better, np.stack([level, scale, np.full(len(figures), exponent)]), kept)
    return Law(*kept)


def measure(
    run: FinishedRun, features: AnyFloats, sizes: Integers, repeats: int, target: float
) -> dict[str, Any]:
    """Points with intervals over groups, the fitted law, and the pictures that `target` needs."""
    groups, chosen = run.kept["group"].to_numpy(np.int64), run.settings.cross_validate
    folds = run.folds(repeats)
    bootstrap = Bootstrap(chosen.bootstrap_draws, LEVEL, chosen.seed)
    curves = []
    for size in sizes:
        made = out_of_fold(features, run.labels, groups, folds, int(size))
        weights = np.concatenate([np.ones((1, len(groups))), *bootstrap.weights(groups)])
        parts = [scores.weighted_figures(run.labels, one, weights)[METRIC] for one in made]
        curves.append(np.mean(parts, axis=0))
    figures = np.stack(curves, axis=1)  # the pictures themselves, then draws of them
    return {"points": _points(sizes, figures), **_extrapolated(sizes, figures, target)}


def chart(found: dict[str, dict[str, Any]], target: float, subtitle: str, out: Path) -> None:
    """Points with intervals and fitted laws; `found`: by feature set, what `measure` returns."""
    figure, axes = charts.new_figure("Would more pictures help?", subtitle, (7.6, 4.8))
    line = np.geomspace(30, 10_000, 200)
    for number, (name, one) in enumerate(found.items()):
        colour, shift = palette.OKABE_ITO[number], 1 + 0.03 * number
        sizes = np.array([point["pictures"] for point in one["points"]]) * shift
        ends = [[point[key] for point in one["points"]] for key in ("low", "high")]
        axes.vlines(sizes, *ends, color=colour, alpha=0.5)
        values = [point[METRIC] for point in one["points"]]
        axes.plot(sizes, values, "o", color=colour, label=name)
        law = one["power_law"]
        fitted = law["level"] - law["scale"] * line ** -law["exponent"]
        axes.plot(line, fitted, color=colour, linestyle="--")
    axes.axhline(target, color=palette.GRAY, linestyle=":", label=f"aim, {target:g}")
    axes.set(xscale="log", ylim=(0.4, 0.9), xlabel="training pictures", ylabel="macro-F1")
    axes.legend(loc="lower right", frameon=False)
    charts.save_figure(figure, out)


def _points(sizes: Integers, figures: AnyFloats) -> list[dict[str, Any]]:
    low, high = np.quantile(figures[1:], ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
    return [
        {
            "pictures": int(size),
            METRIC: round(float(figures[0, place]), 4),
            "low": round(float(low[place]), 4),
            "high": round(float(high[place]), 4),
        }
        for place, size in enumerate(sizes)
    ]


def _extrapolated(sizes: Integers, figures: AnyFloats, target: float) -> dict[str, Any]:
    law = fit(sizes, figures)
    needed = law.needed(target)
    ends = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    low, high = np.quantile(needed[1:], ends, method="nearest")
    bottom, top = np.quantile(law.level[1:], ends)
    return {
        "power_law": {
            "level": round(float(law.level[0]), 4),
            "level_low": round(float(bottom), 4),
            "level_high": round(float(top), 4),
            "scale": round(float(law.scale[0]), 4),
            "exponent": round(float(law.exponent[0]), 4),
        },
        "needed": {  # None: never
            "target": target,
            "pictures": _finite(needed[0]),
            "low": _finite(low),
            "high": _finite(high),
            "never_in_draws": round(float(np.isinf(needed[1:]).mean()), 4),
        },
    }


def _finite(pictures: float) -> int | None:
    return round(float(pictures)) if np.isfinite(pictures) and pictures < 1e9 else None
