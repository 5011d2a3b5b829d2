"""The whole pipeline, tiny, through DVC: the same figures twice, and only what changed runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CODE = ("stages", "conf", "dvc.yaml", ".dvcignore", ".gitignore")
TINY = (
    "sample.patients=45",
    "sample.size_pixels=96",
    "ingest.image_size_pixels=32",
    "train.epochs=1",
    "model=mobilenet",
    "split.folds=3",
    "validate.minimum_images_per_class=3",
    "validate.maximum_rejected_share=0.2",
    "evaluate.bootstrap_draws=20",
)

pytestmark = [pytest.mark.tf, pytest.mark.slow]


class Project:
    """A copy of the project in a git repository of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in CODE:
            source, target = ROOT / name, folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, target)
        self.run("git", "init", "-q")
        self.dvc("init", "-q")
        shutil.copy2(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
        shutil.copy2(ROOT / "params.yaml", folder / "params.yaml")
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "start")

    def run(self, *command: str) -> str:
        """Run in the project; fail with the whole output."""
        binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        hidden = ("MLFLOW_", "DVC_", "GIT_")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**kept, "PATH": binaries, "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def dvc(self, *arguments: str) -> str:
        """A DVC command in the project."""
        return self.run(sys.executable, "-m", "dvc", *arguments)

    def experiment(self, *overrides: str) -> str:
        """An experiment in the workspace with the tiny settings."""
        flags = [word for override in (*TINY, *overrides) for word in ("-S", override)]
        return self.dvc("exp", "run", *flags)

    def json(self, path: str) -> dict[str, object]:
        """A JSON object of the project."""
        values: dict[str, object] = json.loads((self.folder / path).read_text(encoding="utf-8"))
        return values


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which the tiny pipeline has run once."""
    made = Project(tmp_path_factory.mktemp("pipeline"))
    made.experiment()
    return made


def test_one_command_trains_evaluates_and_registers_a_champion(project: Project) -> None:
    registered = project.json("reports/registration.json")
    assert registered["alias"] == "champion"
    assert registered["synthetic"] is True
    test = project.json("metrics/mobilenet/test.json")
    assert test["synthetic"] is True
    assert test["split_protocol"] == "grouped"
    assert (project.folder / "mlflow.db").is_file()


def test_a_second_repro_runs_nothing(project: Project) -> None:
    assert "Running stage" not in project.dvc("repro")


def test_a_training_parameter_runs_only_train_and_later_again(project: Project) -> None:
    done = project.experiment("train.learning_rate=0.002")
    ran = [line.split("'")[1] for line in done.splitlines() if line.startswith("Running stage")]
    assert ran == ["train@mobilenet", "evaluate@mobilenet", "register"]


def test_the_same_parameters_give_the_same_figures_byte_for_byte(project: Project) -> None:
    project.experiment()
    files = ["metrics/mobilenet/test.json", "metrics/mobilenet/history.csv", "metrics/split.json"]
    before = [(project.folder / file).read_bytes() for file in files]
    done = project.dvc("repro", "--force")
    assert "Running stage 'train@mobilenet'" in done
    assert [(project.folder / file).read_bytes() for file in files] == before
