"""The finished members of an ensemble whose training was ended early, on the test images.

python -m benchmarks.evidence.finished_members --run FOLDER --backbone NAME

FOLDER is the project after the killed run, its checkpoints still there. Each finished member alone,
and the mean of their log-probabilities, scaled by a temperature that is fitted on what they held
out. Nothing is chosen here: the epoch is the last, as train.keep_epoch says.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.evidence.models_in_pairs import BOOTSTRAP
from knee.classifier.features import feature_source
from knee.classifier.features.feature_source import Source
from knee.evidence.evaluation import predictions
from knee.evidence.uncertainty import calibration
from knee.records import file_names, records_table
from knee.run import command, parameters
from knee.splits import cross_validation, split_table
from knee.statistics.scores import Outcomes
from knee.storage.arrays import Floats, Integers

SHOWN = ("accuracy", "quadratic_kappa", "median_class_accuracy", "median_class_kappa", "log_loss")


def run(folder: Path, backbone: str) -> None:
    """Print the figures of each member and of their mean, and the mean's less the members'."""
    from knee.classifier.training import presets, training  # TensorFlow
    from knee.classifier.training.checkpoints import EveryEpoch
    from knee.classifier.training.fold_training import Recipe
    from knee.classifier.training.members import HISTORY

    settings = parameters.load(folder / "params.yaml")
    table = records_table.read_records(folder / "data/records.csv")
    split = split_table.read_split(folder / "data/split.csv")
    settings = presets.resolved(settings, split_table.development_images(table, split))
    classes, train = records_table.class_names(table), settings.train
    features = folder / "data/features" / backbone
    recipe = Recipe.of(settings, backbone, features, len(classes))
    plan = training.planned(recipe.backbone, recipe.head, recipe.train, recipe.classes)
    net = training.build(plan)[0].trained
    source = feature_source.open_source(features, folder / "data/pixels")
    patterns = file_names.patterns_of(settings.ingest)
    kept = cross_validation.chosen_records(table, split, patterns, "development")
    test = predictions.held_out(table, split, ("test",))
    members, unseen, seen_by = [], [], []
    (states,) = (folder / "checkpoints" / backbone).glob("members-*")
    for fold in cross_validation.plan_members(kept, train.members, train.members_seeds, train.seed):
        state = states / f"fold{fold.fold}_seed{fold.repeat}"
        if (state / HISTORY).is_file():
            net.set_weights(EveryEpoch(state, last_only=True).weights(int(train.epochs) - 1))
            members.append(_predicted(net, source, test["pixel_row"].to_numpy(np.int64)))
            held = kept.iloc[fold.held_out]
            unseen.append(_predicted(net, source, held["pixel_row"].to_numpy(np.int64)))
            seen_by.append(held)
    truth = np.concatenate([held["class_index"].to_numpy(np.int64) for held in seen_by])
    groups = np.concatenate([held["group"].to_numpy() for held in seen_by])
    out_of_fold = np.concatenate(unseen)
    fitted = calibration.fit(truth, out_of_fold, groups)
    _show(f"out of fold, {len(truth)} images", Outcomes(truth, out_of_fold, groups, classes))
    named = {f"member {number}": one for number, one in enumerate(members, 1)}
    mean = calibration.averaged(np.stack(members))
    named[f"mean of {len(members)}, T {fitted.temperature:.2f}"] = calibration.scaled(
        mean, fitted.temperature
    )
    tested = (test["class_index"].to_numpy(np.int64), test["group"].to_numpy())
    for name, values in named.items():
        _show(name, Outcomes(tested[0], values, tested[1], classes))
    _show_gain(tested[0], tested[1], members, mean)


def _predicted(net: object, source: Source, rows: Integers) -> Floats:
    from knee.classifier.training import inputs

    batches = inputs.padded_batches(source, rows, 32)
    return np.asarray(net.predict(batches, verbose=0)[: len(rows)], np.float64)  # type: ignore[attr-defined]


def _show(name: str, outcomes: Outcomes) -> None:
    found = BOOTSTRAP.figures(outcomes)
    bounds = found["confidence_interval"]
    told = (
        f"{key} {found[key]:.3f} ({bounds[key]['low']:.3f}-{bounds[key]['high']:.3f})"
        for key in SHOWN
    )
    print(f"{name}: {', '.join(told)}")


def _show_gain(truth: Integers, groups: Integers, members: Sequence[Floats], mean: Floats) -> None:
    """The mean's accuracy and log loss less the average member's, both before the temperature."""

    def right(values: Floats) -> Floats:
        return np.asarray(values.argmax(axis=1) == truth, np.float64)

    def loss(values: Floats) -> Floats:
        return np.asarray(-np.log(np.clip(values[np.arange(len(truth)), truth], 1e-7, 1)))

    for name, figure in (("accuracy", right), ("log loss", loss)):
        gain = figure(mean) - np.mean([figure(one) for one in members], axis=0)
        ends = BOOTSTRAP.mean_interval(gain, groups)
        print(
            f"mean - a member: {name} {gain.mean():+.3f} ({ends['low']:+.3f}-{ends['high']:+.3f})"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    parser.add_argument("--run", type=Path, required=True, help="the project after the run")
    parser.add_argument("--backbone", default="mobilenet", help="that was trained")
    chosen = parser.parse_args(argv)
    run(chosen.run, chosen.backbone)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
