r"""What might raise the figures of some hundred pictures, tried in pairs on the same folds.

    python -m benchmarks.levers --data-run FOLDER [--maps FOLDER] [--heads FOLDER] [--out FILE.csv]

Cross-validation of the development records alone, with the folds of `cross_validate.subset:
development`; each row less the pipeline's probe (logistic regression on MobileNet's averages),
by a paired bootstrap over groups, p-values corrected for all rows (Holm). --maps: files of
benchmarks.depth_maps. --heads: folders BACKBONE with an out_of_fold.csv of these folds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks import finished_run, probes
from benchmarks.finished_run import FinishedRun
from stages.radiographs import comparison
from stages.radiographs.comparison import Contender, Protocol
from stages.radiographs.contenders import INVERSE_PENALTY
from stages.radiographs.folds import repeated_folds

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]
Predict = Callable[[Integers, Integers], Floats]  # training and test rows -> probabilities
Made = tuple[npt.NDArray[np.float64], ...]  # out of fold, (pictures, classes), one a repeat
PROTOCOL = Protocol("macro_f1", draws=10_000, level=0.95, seed=42)
PENALTIES = tuple(INVERSE_PENALTY * factor for factor in (0.03, 0.1, 0.3, 1, 3, 10))
BAGS = 20
BASE = "probe, mobilenet"


class Trials:
    """Out-of-fold probabilities by name, in the order in which they were made."""

    def __init__(self, run: FinishedRun, repeats: int) -> None:
        self.run, self.made = run, dict[str, Made]()
        self._labels, self._folds = run.labels, run.folds(repeats)
        self._groups = run.kept["group"].to_numpy(np.int64)

    def add(self, name: str, predict: Predict) -> None:
        """Cross-validate `predict`."""
        found = [self._zeros() for _ in range(1 + max(fold.repeat for fold in self._folds))]
        for fold in self._folds:
            outside = np.concatenate([fold.training, fold.validation])
            found[fold.repeat][fold.held_out] = predict(outside, fold.held_out)
        self.made[name] = tuple(found)

    def average(self, name: str, names: Sequence[str]) -> None:
        """The mean of probabilities that exist."""
        together = zip(*(self.made[one] for one in names), strict=True)
        self.made[name] = tuple(np.mean(parts, axis=0) for parts in together)

    def linear(
        self,
        views: Floats,
        *,
        trained: bool = True,
        asked: bool = True,
        penalty: float = INVERSE_PENALTY,
    ) -> Predict:
        """The probe; the mirror image `trained` on, and `asked` for its opinion, too."""

        def predict(train: Integers, test: Integers) -> Floats:
            rows, labels = self._rows(views, train, mirrored=trained)
            turned = probes.Turned(rows)
            model = probes.fit(turned.seen, labels, penalty / (1 + trained))
            chances = [model.predict_proba(turned(view[test])) for view in views[: 1 + asked]]
            return np.asarray(np.mean(chances, axis=0))

        return predict

    def nested(self, views: Floats) -> Predict:
        """The probe whose penalty is chosen by folds of the training rows."""

        def predict(train: Integers, test: Integers) -> Floats:
            (inner,) = repeated_folds(
                self._labels[train], self._groups[train], folds=4, repeats=1, seed=0
            )
            scores = []
            for penalty in PENALTIES:
                one = self.linear(views, penalty=penalty)
                parts = [(train[held], one(train[seen], train[held])) for seen, held in inner]
                rows = np.concatenate([held for held, _ in parts])
                chances = np.concatenate([made for _, made in parts])
                scores.append(np.log(chances[np.arange(len(rows)), self._labels[rows]]).mean())
            best = PENALTIES[int(np.argmax(scores))]
            return self.linear(views, penalty=best)(train, test)

        return predict

    def ordinal(self, views: Floats) -> Predict:
        """A probe for each step of the scale (Frank and Hall 2001, 10.1007/3-540-44795-4_13)."""

        def predict(train: Integers, test: Integers) -> Floats:
            rows, labels = self._rows(views, train, mirrored=True)
            turned = probes.Turned(rows)
            above = []
            for step in range(len(self.run.classes) - 1):
                labelled = (labels > step).astype(np.int64)
                model = probes.fit(turned.seen, labelled, INVERSE_PENALTY / 2)
                parts = [model.predict_proba(turned(view[test]))[:, 1] for view in views]
                above.append(np.mean(parts, axis=0))
            ends = np.ones((len(test), 1)), np.zeros((len(test), 1))
            chances = -np.diff(np.hstack([ends[0], np.stack(above, axis=1), ends[1]]), axis=1)
            chances = chances.clip(min=1e-6)
            return np.asarray(chances / chances.sum(axis=1, keepdims=True))

        return predict

    def bagged(self, views: Floats) -> Predict:
        """The mean of probes of drawn training groups."""

        def predict(train: Integers, test: Integers) -> Floats:
            generator = np.random.default_rng(0)
            names, group_of = np.unique(self._groups[train], return_inverse=True)
            found = []
            for _ in range(BAGS):
                times = np.bincount(
                    generator.integers(0, len(names), len(names)), minlength=len(names)
                )
                found.append(self.linear(views)(np.repeat(train, times[group_of]), test))
            return np.asarray(np.mean(found, axis=0))

        return predict

    def compared(self) -> pd.DataFrame:
        """A row a trial: its figures, and its difference to the base with the corrected p-value."""
        base = Contender(BASE, "probe", self.made[BASE])
        rows = []
        for name, repeats in self.made.items():
            one = Contender(f"{name} ", "model", repeats)
            found = comparison.compare(self._labels, self._groups, [one, base], PROTOCOL)
            figures, (gap,) = found["figures"][one.name], found["differences"]
            row = {"trial": name, **{key: figures[key]["value"] for key in comparison.SHOWN}}
            row |= {key: gap[key] for key in ("difference", "low", "high", "p_value")}
            rows.append({**row, **self._within(repeats)})
        table = pd.DataFrame(rows)
        others = table["trial"] != BASE
        table.loc[others, "p_corrected"] = comparison.holm(table.loc[others, "p_value"].tolist())
        return table

    def _within(self, repeats: Made) -> dict[str, float]:
        """Balanced accuracy by origin."""
        origins, quick = self.run.kept["origin"].to_numpy(), Protocol("accuracy", 1, 0.9, 0)
        found = {}
        for origin in sorted(set(origins) - {""}):
            inside = origins == origin
            one = Contender(origin, "model", tuple(part[inside] for part in repeats))
            part = comparison.compare(self._labels[inside], self._groups[inside], [one], quick)
            found[f"within_{origin}"] = part["figures"][origin]["balanced_accuracy"]["value"]
        return found

    def _rows(self, views: Floats, train: Integers, *, mirrored: bool) -> tuple[Floats, Integers]:
        chosen = views[: 1 + mirrored]
        return np.concatenate([view[train] for view in chosen]), np.tile(
            self._labels[train], len(chosen)
        )

    def _zeros(self) -> npt.NDArray[np.float64]:
        return np.zeros((len(self._labels), len(self.run.classes)))


def try_all(trials: Trials, maps: Path | None, heads: Path | None) -> None:
    """Every lever, cheap ones first."""
    views = {name: trials.run.averaged(name) for name in trials.run.settings.model.backbones}
    mobilenet = views["mobilenet"]
    trials.add(BASE, trials.linear(mobilenet, trained=False, asked=False))
    trials.add("mirror asked", trials.linear(mobilenet, trained=False))
    trials.add("mirror trained on", trials.linear(mobilenet, asked=False))
    trials.add("mirror trained on and asked", trials.linear(mobilenet))
    trials.add("the same, penalty by nested folds", trials.nested(mobilenet))
    trials.add("the same, ordinal", trials.ordinal(mobilenet))
    trials.add(f"the same, mean of {BAGS} bags", trials.bagged(mobilenet))
    probed = ["mirror trained on and asked"]
    for name in list(views)[1:]:
        trials.add(f"{name}, mirrored", trials.linear(views[name]))
        probed.append(f"{name}, mirrored")
    trials.average("backbones averaged", probed)
    both = np.concatenate([*views.values()], axis=2)
    trials.add("backbones side by side", trials.linear(both))
    if heads is not None:
        _heads(trials, heads, probed)
    scales = [*_maps(trials, maps)] if maps is not None else []
    if scales:
        trials.average("all inputs and depths averaged", scales)


def _heads(trials: Trials, heads: Path, probed: list[str]) -> None:
    names = []
    for path in sorted(heads.glob("*/out_of_fold.csv")):
        table = pd.read_csv(path).sort_values(["repeat", "record"])
        made = tuple(finished_run.probabilities(table))
        names.append(f"head, {path.parent.name}")
        trials.made[names[-1]] = made
    trials.average("heads averaged", names)
    trials.average("head and probe of mobilenet", [names[0], probed[0]])
    trials.average("heads and probes averaged", [*names, *probed])


def _maps(trials: Trials, folder: Path) -> Iterator[str]:
    """The last layer alone and all layers of every file; yields the names of the latter."""
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as content:
            place = {record: row for row, record in enumerate(content["record"])}
            rows = [place[record] for record in trials.run.kept["record"]]
            layers = [content[name][:, rows] for name in content.files if name != "record"]
        trials.add(f"{path.stem}, last layer", trials.linear(layers[-1]))
        trials.add(f"{path.stem}, all layers", trials.linear(np.concatenate(layers, axis=2)))
        yield f"{path.stem}, all layers"


def main(argv: Sequence[str] | None = None) -> None:
    """Try, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-run", type=Path, required=True)
    parser.add_argument("--maps", type=Path)
    parser.add_argument("--heads", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args(argv)
    trials = Trials(finished_run.read(chosen.data_run, "development"), chosen.repeats)
    try_all(trials, chosen.maps, chosen.heads)
    table = trials.compared().round(4)
    print(table.to_string(index=False))
    if chosen.out is not None:
        table.to_csv(chosen.out, index=False)


if __name__ == "__main__":
    main()
