"""The explain stage on a tiny net."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from knee.records import records_table
from tests.stages.test_evaluate import NAMES, SIDE_PIXELS, write_data, write_model

pytestmark = [
    pytest.mark.tf,
    # Keras on TensorFlow 2.21, with NumPy 2.4.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning"),
]

ROOT = Path(__file__).parents[2]
WRITTEN = {"explanation.json", "explanation_headline.json", "explanation/maps.png"}


def arguments(root: Path, masks: str = "masks") -> list[str]:
    places = {
        "params": "params.yaml",
        "records": "records.csv",
        "pixels": "pixels",
        "split": "split.csv",
        "split-metrics": "split.json",
        "bone-masks": masks,
        "model": "model",
        "explanation-out": "metrics/explanation.json",
        "headline-out": "metrics/explanation_headline.json",
        "picture-out": "metrics/explanation/maps.png",
    }
    pairs = [(f"--{flag}", str(root / place)) for flag, place in places.items()]
    return ["--backbone", "mobilenet", *(word for pair in pairs for word in pair)]


def main(root: Path, masks: str = "masks") -> int:
    code: int = importlib.import_module("stages.explain").main(arguments(root, masks))
    return code


def outputs(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root / "metrics").as_posix(): path.read_bytes()
        for path in sorted((root / "metrics").rglob("*"))
        if path.is_file()
    }


def explanation(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "metrics" / "explanation.json").read_text())
    return found


def write_project(root: Path) -> None:
    write_data(root)
    table = records_table.read_records(root / "records.csv")
    records_table.write_records(
        table.assign(width=SIDE_PIXELS, height=SIDE_PIXELS), root / "records.csv"
    )
    write_model(root)
    for source in table["source"]:
        path = (root / "masks" / str(source)).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        mask = np.zeros((SIDE_PIXELS, SIDE_PIXELS), np.bool_)
        mask[:, : SIDE_PIXELS // 2] = True
        Image.fromarray(mask).save(path)
    (root / "no_masks").mkdir()
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    values["explain"] |= {"images": 6, "images_shown": 1, "bootstrap_draws": 50}
    (root / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the stage has run once."""
    root = tmp_path_factory.mktemp("explained")
    write_project(root)
    assert main(root) == 0
    return root


def test_figures_headline_and_picture_are_written_and_nothing_else(explained: Path) -> None:
    assert set(outputs(explained)) - WRITTEN == {*("history.csv", "members.csv")}
    assert set(outputs(explained)) >= WRITTEN
    found = explanation(explained)
    assert (found["records"], found["synthetic"], found["leaky"]) == (6, True, False)
    assert found["pointing"]["area_share"]["mean"] == pytest.approx(0.5)
    for method in ("grad_cam", "occlusion"):
        assert set(found["border"]["methods"][method]["per_class"]) == set(NAMES)
    headline = json.loads((explained / "metrics" / "explanation_headline.json").read_text())
    assert not [value for value in headline.values() if isinstance(value, dict | list)]


def test_no_file_name_is_in_what_is_written(explained: Path) -> None:
    written = outputs(explained)
    assert b"00.png" not in b"".join(written[name] for name in WRITTEN)


def test_explaining_again_gives_the_same_bytes(explained: Path) -> None:
    before = outputs(explained)
    assert main(explained) == 0
    assert outputs(explained) == before


@pytest.fixture
def copy(explained: Path, tmp_path: Path) -> Path:
    """The same project before the stage has run."""
    ignored = shutil.ignore_patterns("explanation*")
    shutil.copytree(explained, tmp_path / "copy", ignore=ignored)
    return tmp_path / "copy"


def test_without_bone_masks_pointing_is_null_with_a_reason(copy: Path) -> None:
    assert main(copy, "no_masks") == 0
    assert explanation(copy)["pointing"] is None
    assert "no bone masks" in explanation(copy)["pointing_reason"]


@pytest.mark.parametrize(
    ("spoiled", "message"),
    [
        ("model/model.keras", "is not the model that its training recorded"),
        ("pixels/00000.npy", "is no array file"),
        ("split.csv", "split_fingerprint"),
        ("masks", "is no mask"),
        ("params.yaml", "most_forward_passes"),
    ],
)
def test_bad_input_is_one_message_and_writes_nothing(
    copy: Path, spoiled: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if spoiled == "params.yaml":
        values = yaml.safe_load((copy / spoiled).read_text(encoding="utf-8"))
        values["explain"]["most_forward_passes"] = 5
        (copy / spoiled).write_text(yaml.safe_dump(values), encoding="utf-8")
    for path in sorted((copy / spoiled).rglob("*.png")) or [copy / spoiled]:
        if spoiled != "params.yaml":
            path.write_bytes(b"")
    assert main(copy) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("explain: ")
    assert error.count("\n") == 1
    assert not WRITTEN & set(outputs(copy))
