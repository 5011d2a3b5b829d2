"""Charts and sheets: written, deterministic, and safe against any class name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from knee.drawing import charts, contact_sheets

NAMES = ["Normal", "$\\frac{1}{$", "a class with a name that is far too long for any axis"]


def predictions(names: list[str], count: int = 12) -> pd.DataFrame:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(len(names)), count).round(4)
    table = pd.DataFrame({f"probability_{n}": probabilities[:, k] for k, n in enumerate(names)})
    table["predicted"] = [names[k] for k in probabilities.argmax(axis=1)]
    table["label"] = [names[n % len(names)] for n in range(count)]
    table["record"] = range(100, 100 + count)
    return table


def draw_all(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    table = predictions(names)
    pixels = np.random.default_rng(1).integers(0, 255, (12, 20, 20)).astype(np.uint8)
    line = np.linspace(0, 1, 5)
    curve = pd.concat(pd.DataFrame({"class": name, "x": line, "y": line}) for name in names)
    confusion = table.rename(columns={"label": "actual"})[["actual", "predicted"]]
    charts.confusion_matrix(confusion, names, "tiny", folder / "confusion.png")
    roc = curve.rename(columns={"x": "false_positive_rate", "y": "true_positive_rate"})
    charts.roc(roc, "tiny", folder / "roc.png")
    recall = curve.rename(columns={"x": "recall", "y": "precision"})
    charts.precision_recall(recall, "tiny", folder / "precision_recall.png")
    bins = pd.DataFrame({"confidence": line, "accuracy": line, "count": 3})
    charts.reliability(bins, "tiny", folder / "reliability.png")
    history = pd.DataFrame(
        dict.fromkeys(("loss", "val_loss", "accuracy", "val_accuracy"), line)
    ).assign(epoch=range(5))
    charts.learning_curves(history, 2, "tiny", folder / "learning_curves.png")
    contact_sheets.worst_mistakes(pixels, table, names, 5, "tiny", folder / "mistakes.png")
    contact_sheets.heat_maps(pixels, [pixels / 255], table, "x", "tiny", folder / "grad_cam.png")


def test_the_same_data_make_the_same_bytes(tmp_path: Path) -> None:
    draw_all(tmp_path / "one", ["a", "b"])
    draw_all(tmp_path / "two", ["a", "b"])
    for one in sorted((tmp_path / "one").iterdir()):
        assert one.read_bytes() == (tmp_path / "two" / one.name).read_bytes(), one.name


def test_hostile_and_long_class_names_are_drawn(tmp_path: Path) -> None:
    draw_all(tmp_path, NAMES)
    assert len(list(tmp_path.iterdir())) == 7


@pytest.mark.parametrize("count", [0, 1])
def test_a_sheet_of_few_or_no_images_is_still_an_image(tmp_path: Path, count: int) -> None:
    table = predictions(["a", "b"], 4).assign(label="a", predicted="a").iloc[:count]
    pixels = np.zeros((count, 8, 8), np.uint8)
    sheets: list[Callable[[Path], None]] = [
        lambda out: contact_sheets.worst_mistakes(pixels, table, ["a", "b"], 3, "x", out),
        lambda out: contact_sheets.heat_maps(pixels, [pixels / 255], table, "x", "y", out),
    ]
    for sheet in sheets:
        sheet(tmp_path / "sheet.png")
        with Image.open(tmp_path / "sheet.png") as file:
            assert file.width >= 640


def test_the_surest_mistakes_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []
    original = contact_sheets._write_sheet

    def spy(tiles: object, captions: list[tuple[str, str]], *rest: object) -> None:
        seen.extend(captions)
        original(tiles, captions, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(contact_sheets, "_write_sheet", spy)
    table = predictions(["a", "b"], 30)
    pixels = np.zeros((30, 8, 8), np.uint8)
    contact_sheets.worst_mistakes(pixels, table, ["a", "b"], 4, "x", tmp_path / "sheet.png")
    wrong = table[table["label"] != table["predicted"]]
    sure = wrong[["probability_a", "probability_b"]].max(axis=1).sort_values(ascending=False)
    expected = [f"{value:.0%} sure, record {100 + int(str(row))}" for row, value in sure.items()]
    assert [second for _, second in seen] == expected[:4]
