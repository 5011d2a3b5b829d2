"""What `auto` of the section train should mean: heads of several settings on so many images.

python -m benchmarks.evidence.head_settings --run FOLDER --images 400 1200 4000

FOLDER is a project whose stage embed has run. For each number of images, whole groups drawn from
the development records, five members are trained with each of the settings; figures are out of
fold, so the test subset is not read. Differences are in pairs, to the first setting.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from benchmarks.evidence.models_in_pairs import BOOTSTRAP
from knee.classifier.features import feature_source
from knee.classifier.training import fold_training
from knee.records import file_names, records_table
from knee.run import command, parameters
from knee.splits import cross_validation, split_table
from knee.statistics import scores
from knee.storage.arrays import Floats

SETTINGS: Final[Sequence[dict[str, Any]]] = (
    {"epochs": 8, "learning_rate": 0.001, "keep_epoch": "best"},
    {"epochs": 20, "learning_rate": 0.001, "keep_epoch": "best"},
    {"epochs": 10, "learning_rate": 0.0003, "keep_epoch": "last"},
    {"epochs": 20, "learning_rate": 0.0003, "keep_epoch": "last"},
)
SEED: Final = 42


def run(folder: Path, backbone: str, counts: Sequence[int]) -> None:
    """Print the figures of each setting for each number of images."""
    settings = parameters.load(folder / "params.yaml")
    table = records_table.read_records(folder / "data/records.csv")
    split = split_table.read_split(folder / "data/split.csv")
    patterns = file_names.patterns_of(settings.ingest)
    kept = cross_validation.chosen_records(table, split, patterns, "development")
    classes = len(records_table.class_names(table))
    for count in counts:
        some = _drawn(kept, count)
        losses = []
        for given in SETTINGS:
            train = dataclasses.replace(settings.train, members_seeds=1, **given)
            chosen = dataclasses.replace(settings, train=train)
            losses.append(_losses(chosen, folder, backbone, classes, some))
            told = f"{len(some)} images, {given}: log loss {losses[-1].mean():.3f}"
            gain = losses[-1] - losses[0]
            ends = BOOTSTRAP.mean_interval(gain, some["group"].to_numpy())
            print(f"{told}, {gain.mean():+.3f} ({ends['low']:+.3f} to {ends['high']:+.3f})")


def _drawn(kept: pd.DataFrame, count: int) -> pd.DataFrame:
    """About so many records, whole groups."""
    groups = np.random.default_rng(SEED).permutation(kept["group"].unique())
    order = kept["group"].map({group: number for number, group in enumerate(groups)})
    return kept.iloc[np.sort(np.argsort(order, kind="stable")[:count])].reset_index(drop=True)


def _losses(
    settings: parameters.Params, folder: Path, backbone: str, classes: int, kept: pd.DataFrame
) -> Floats:
    """The out-of-fold log loss of each record, after the figures of all are printed."""
    from knee.classifier.training import members  # TensorFlow

    features = folder / "data/features" / backbone
    source = feature_source.open_source(features, folder / "data/pixels")
    recipe = fold_training.Recipe.of(settings, backbone, features, classes)
    folds = cross_validation.plan_members(kept, settings.train.members, 1, settings.train.seed)
    with (
        fold_training.here_of(settings.execution) as place,
        tempfile.TemporaryDirectory() as own,
    ):
        made = members.train_members(recipe, source, kept, folds, Path(own), "", lambda: place)
    truth, found = kept["class_index"].to_numpy(np.int64), made.out_of_fold
    figures = {name: scores.metric(name)(truth, found) for name in ("accuracy", "quadratic_kappa")}
    print({name: round(value, 3) for name, value in figures.items()}, f"epoch {made.epoch + 1}")
    return np.asarray(-np.log(np.clip(found[np.arange(len(truth)), truth], 1e-7, 1)))


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    parser.add_argument("--run", type=Path, required=True, help="the project after embed")
    parser.add_argument("--backbone", default="mobilenet", help="whose features it has")
    parser.add_argument("--images", type=int, nargs="+", required=True, help="how many to learn")
    chosen = parser.parse_args(argv)
    run(chosen.run, chosen.backbone, chosen.images)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
