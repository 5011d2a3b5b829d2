r"""How far memory carries on the leaky split: contradicted pictures, and who knows every picture.

    python -m benchmarks.evidence.memory --data-run FOLDER

FOLDER is a project in which a run with `split=random` has ended, up to evaluate. Its test files are
parted by whether their picture stands under one label or several, and the models' accuracy is set
beside that of two readers that are nothing but memory. Prints the figures, and writes
benchmarks/results/memory.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from knee.records import conflicts, records_table
from knee.run import command, parameters
from knee.splits import split_table

RESULTS = Path(__file__).parents[1] / "results" / "memory.json"
PICTURE, PIXELS = "knows the picture", "has seen the same pixels"


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=command.Help)
    parser.add_argument(
        "--data-run", type=Path, required=True, help="project in which the run has ended"
    )
    parser.add_argument("--results-out", type=Path, default=RESULTS, help="file to write")
    chosen = parser.parse_args(argv)
    text = json.dumps(measure(chosen.data_run), indent=2)
    chosen.results_out.write_text(text + "\n", encoding="utf-8")
    print(text)


def measure(run: Path) -> dict[str, Any]:
    """Accuracy on the test files of `run`: of each model, and of remembered labels."""
    settings = parameters.load(run / "params.yaml")
    if settings.split.protocol != "random":
        raise SystemExit(f"{run}: split.protocol is not random: nothing is there to remember")
    table = records_table.read_records(run / "data" / "records.csv")
    drawn = split_table.read_split(run / "data" / "split.csv")[["record", "subset"]]
    films = table.merge(drawn, on="record")
    several = films.groupby("picture")["label"].nunique() > 1
    train, test = films[films["subset"] == "train"], films[films["subset"] == "test"]
    test = test.assign(contradicted=test["picture"].map(several))
    found = {
        PICTURE: _accuracy(test, _remembered(train, test, "picture")),
        PIXELS: _accuracy(test, _remembered(train, test, "pixel_sha256")),
    }
    for backbone in settings.model.backbones:
        made = pd.read_csv(run / "metrics" / backbone / "predictions.csv", keep_default_na=False)
        predicted = test["record"].map(made.set_index("record")["predicted"])
        found[backbone] = _accuracy(test, predicted)
    return found


def _remembered(train: pd.DataFrame, test: pd.DataFrame, key: str) -> pd.Series:
    """The majority's label among training files of the same `key`; missing where there is none."""
    return test[key].map(train.groupby(key)["label"].agg(conflicts.majority))


def _accuracy(test: pd.DataFrame, answers: pd.Series) -> dict[str, dict[str, Any]]:
    """Over all test files, an answer that is missing being wrong; and over the answered ones."""
    right = answers == test["label"]
    parts = {
        "all": right,
        "answered": right[answers.notna()],
        "pictures under one label": right[~test["contradicted"]],
        "contradicted pictures": right[test["contradicted"]],
    }
    return {
        name: {"files": len(part), "accuracy": round(float(part.mean()), 4)}
        for name, part in parts.items()
    }


if __name__ == "__main__":
    main()
