"""A finished run of 90 pictures in three classes, from two collections, with tiny features."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from benchmarks.evidence import finished_run
from knee.classifier.net.design import BackboneDesign, write_design
from knee.records import records_table
from knee.run import parameters
from knee.statistics import paired_comparison
from knee.statistics.bootstrap import Bootstrap
from knee.statistics.scores import certain
from tests import shards
from tests.records import tables

ROOT = Path(__file__).parents[2]
ROWS, SIDE, CLASSES = 96, 8, 3
BACKBONES = ["mobilenet", "xception"]


def write(root: Path) -> None:
    """The last 6 records are second films of the first 3 pictures, of which one is contradicted."""
    number = np.arange(ROWS)
    pictures = np.where(number < 90, number, (number - 90) // 2)
    labels = np.where(number < 90, number % CLASSES, pictures % CLASSES)
    labels[90] = 1  # picture 0 is labelled 0 and 1
    statuses = ["quarantined" if picture == 0 else "used" for picture in pictures]
    table = tables.records(labels.tolist(), pictures.tolist(), pictures.tolist(), statuses)
    table["origin"] = np.where((number < 45) | (number >= 93), "here", "there")
    data = root / "data"
    data.mkdir()
    records_table.write_records(table, data / "records.csv")
    shards.save(data / "pixels", np.zeros((ROWS, SIDE, SIDE), np.uint8))
    split = pd.DataFrame({"record": number, "subset": "train", "fold": 0, "group": pictures})
    split.loc[(number >= 81) & (number < 90), "subset"] = "test"
    split.to_csv(data / "split.csv", index=False)
    settings = json.loads(json.dumps(dataclasses.asdict(parameters.load(ROOT / "params.yaml"))))
    settings["model"] |= {"backbones": BACKBONES, "candidates": BACKBONES}
    settings["cross_validate"] |= {"folds": 3, "repeats": 2, "bootstrap_draws": 40}
    (root / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    for seed, name in enumerate(BACKBONES):
        _write_features(data / "features" / name, name, labels, seed)
    for name in BACKBONES:
        _write_out_of_fold(root, name)
    _write_comparison(root)


def _write_features(folder: Path, name: str, labels: np.ndarray, seed: int) -> None:
    folder.mkdir(parents=True)
    write_design(BackboneDesign(name, SIDE, train_from="head"), folder)
    values = np.random.default_rng(seed).normal(size=(2, ROWS, 2, 2, 5))
    values += 2 * np.eye(5)[labels][None, :, None, None, :]
    shards.save_features(folder, values.astype(np.float16).swapaxes(0, 1), ("image", "mirror"))


def _write_out_of_fold(root: Path, name: str) -> None:
    run = finished_run.read(root, "all")
    generator = np.random.default_rng(5)
    parts = []
    for repeat in range(2):
        chances = generator.dirichlet(np.ones(CLASSES), len(run.kept)) / 2
        chances[np.arange(len(run.kept)), run.labels] += 0.5
        part = run.kept[["record", "group", "origin", "class_index"]].assign(repeat=repeat)
        columns = [f"probability_{label}" for label in run.classes]
        parts.append(part.assign(**dict(zip(columns, chances.T, strict=True))))
    folder = root / "metrics" / name
    folder.mkdir(parents=True)
    pd.concat(parts).sample(frac=1, random_state=0).to_csv(folder / "out_of_fold.csv", index=False)


def _write_comparison(root: Path) -> None:
    run = finished_run.read(root, "all")
    right, same = (certain(one, CLASSES) for one in (run.labels, 0 * run.labels))
    compared = [
        paired_comparison.NamedPredictions("mobilenet", "model", (right,)),
        paired_comparison.NamedPredictions("majority", "shortcut", (same,)),
    ]
    part = paired_comparison.compare(
        run.labels, run.kept["group"].to_numpy(), compared, "macro_f1", Bootstrap(40, 0.95, 0)
    )
    evidence = {"cross_validation": {"overall": part, "within": {"here": part}}}
    folder = root / "reports" / "comparison"
    folder.mkdir(parents=True)
    text = json.dumps({"evidence": evidence, "metric": "macro_f1"})
    (folder / "comparison.json").write_text(text, encoding="utf-8")
