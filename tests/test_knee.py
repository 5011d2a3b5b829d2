"""`import knee` is light, and `knee.load` gives a notebook the table of stages.predict."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import knee
from knee.run.errors import UserError
from knee.storage import artifacts
from tests.stages.test_predict import main, write_films, write_model

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images and a model."""
    root = tmp_path_factory.mktemp("knee")
    write_films(root / "films")
    write_model(root / "model")
    return root


def test_importing_knee_imports_no_other_package() -> None:
    program = (
        "import sys; before = set(sys.modules); import knee; print(*set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    packages = {name.split(".")[0] for name in done.stdout.split()}
    assert "knee" in packages
    assert packages - {"knee"} <= sys.stdlib_module_names


@pytest.mark.tf
def test_the_table_is_that_of_the_command(trained: Path, tmp_path: Path) -> None:
    folder, one = trained / "films" / "Normal", trained / "films" / "Osteopenia" / "01.jpg"
    out = tmp_path / "out.csv"
    engine = ("--engine", "tensorflow")
    assert main(trained, str(folder), str(one), *engine, "--out", str(out)) == 0
    model = knee.load(trained / "model", engine="tensorflow")
    table = model.predict([f"{folder}/", str(one)])
    assert artifacts.as_csv(table) == out.read_text()
    assert len(table) == 7
    assert set(table.loc[table["reason"] != "", "predicted"]) == {""}
    pd.testing.assert_frame_equal(model.predict(folder), table.iloc[:6])


@pytest.mark.tf
def test_a_path_that_does_not_exist_is_one_line(trained: Path) -> None:
    model = knee.load(str(trained / "model"), engine="tensorflow")
    with pytest.raises(UserError, match=r"^absent\.png does not exist: .*$"):
        model.predict("absent.png")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", "absent is no folder: give models:/NAME@champion"),
        ("knee-bone-health-sample@champion", "@champion is no folder: give models:/NAME@champion"),
        ("models:champion", "expected models:/NAME@champion"),
    ],
)
def test_a_model_that_is_not_there_is_one_line(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        knee.load(name, engine="tensorflow")
    assert "\n" not in str(caught.value)
