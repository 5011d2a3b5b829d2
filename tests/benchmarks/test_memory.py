"""What remembered labels are worth on a leaky split."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.evidence import memory
from knee.records import records_table
from tests.records import tables

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Four pictures of three files each: two to train on, one of test, which is the last's copy.

    Picture 0 stands under labels 0, 1 and 1. Of picture 1 the training files stand under 1, that of
    test under 2. The others have one label.
    """
    labels = [0, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0]
    pictures = np.repeat(np.arange(4), 3).tolist()
    table = tables.records(labels, pictures, pictures, ["used"] * 12)
    pixels = table["pixel_sha256"].tolist()
    pixels[5], pixels[11] = pixels[4], pixels[10]  # identical files
    table["pixel_sha256"] = pixels
    folder = tmp_path / "data"
    folder.mkdir()
    records_table.write_records(table, folder / "records.csv")
    subset = ["train", "train", "test"] * 4
    split = {"record": table["record"], "subset": subset, "fold": 0, "group": pictures}
    pd.DataFrame(split).to_csv(folder / "split.csv", index=False)
    made = table[["record"]].assign(predicted=table["label"][1])  # class 1 for every film
    (tmp_path / "metrics" / "mobilenet").mkdir(parents=True)
    made.to_csv(tmp_path / "metrics" / "mobilenet" / "predictions.csv", index=False)
    text = (ROOT / "params.yaml").read_text().replace("protocol: grouped", "protocol: random")
    text = text.replace("  - xception\n", "")
    (tmp_path / "params.yaml").write_text(text)
    return tmp_path


def test_memory_is_judged_apart_where_labels_contradict_each_other(
    run: Path, tmp_path: Path
) -> None:
    memory.main([f"--data-run={run}", f"--results-out={tmp_path / 'memory.json'}"])
    found = json.loads((tmp_path / "memory.json").read_text())
    model = {name: (part["files"], part["accuracy"]) for name, part in found["mobilenet"].items()}
    assert model["all"] == (4, 0.25)
    assert model["contradicted pictures"] == (2, 0.5)
    assert model["pictures under one label"] == (2, 0)
    assert found[memory.PIXELS]["answered"] == {"files": 2, "accuracy": 0.5}
    assert found[memory.PICTURE]["pictures under one label"]["accuracy"] == 1
    assert found[memory.PICTURE]["contradicted pictures"]["files"] == 2


def test_a_run_of_a_grouped_split_is_refused(run: Path) -> None:
    path = run / "params.yaml"
    path.write_text(path.read_text().replace("protocol: random", "protocol: grouped"))
    with pytest.raises(SystemExit, match="not random"):
        memory.measure(run)
