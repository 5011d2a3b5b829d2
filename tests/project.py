"""Copies of the project that run its whole pipeline in seconds."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from benchmarks.reliability.victim import TINY
from tests.planted import PLANTED_FOLDER, write_films
from tests.shared import made_once
from tests.tracking.runs import empty_store

ROOT = Path(__file__).parents[1]
CODE = ("stages", "knee", "conf", "dvc.yaml", "pyproject.toml", ".dvcignore", ".gitignore")
SETTINGS = (*TINY, f"data.path={PLANTED_FOLDER}")
OUTPUT = "output.txt"  # in the finished project: what its stages printed
UNPICKLED = "unpickled.txt"  # and what they and predict unpickled, after one class that is heard
PREDICTED = "predicted.csv"
WATCHED = """
import sys
heard = open("unpickled.txt", "w", buffering=1)

def watch(event, arguments):
    if event == "pickle.find_class":
        frame, files = sys._getframe(), []
        while frame:
            files.append(frame.f_code.co_filename)
            frame = frame.f_back
        inside = any("/stages/" in file for file in files)
        if inside or not any("/site-packages/dvc" in file for file in files):  # not DVC's own notes
            print(".".join(map(str, arguments)), file=heard)

sys.addaudithook(watch)
import pathlib, pickle
pickle.loads(pickle.dumps(pathlib.PosixPath()))
from benchmarks.reliability import in_one_process
if status := in_one_process.main():
    sys.exit(status)
from stages import predict
words = ["--model", "models/mobilenet", "--engine", "tensorflow", "--out", "predicted.csv"]
sys.exit(predict.main([*words, "data/films/Normal"]))
"""
FIGURES = ("metrics/mobilenet/test.json", "metrics/mobilenet/history.csv", "data/records.csv")


def ran(said: str) -> list[str]:
    """The stages that dvc says it ran, without the one that runs every time."""
    lines = [line for line in said.splitlines() if line.startswith("Running stage")]
    return [name for line in lines if (name := line.split("'")[1]) != "check"]


class Project:
    """A copy of the project in a git repository of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def environment(self) -> dict[str, str]:
        """Of its processes: nothing of the stores and settings around it."""
        binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        hidden = ("MLFLOW_", "DVC_", "GIT_")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
        kept["DVC_SITE_CACHE_DIR"] = str(self.folder / ".dvc" / "tmp" / "site_cache")
        return {**kept, "PATH": binaries, "TF_CPP_MIN_LOG_LEVEL": "3"}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a DVC command in the project."""
        return subprocess.Popen(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run(self, *command: str) -> str:
        """Run in the project; fail with the whole output."""
        code, output = self._run(*command)
        assert code == 0, f"{command}\n{output}"
        return output

    def attempt(self, *arguments: str) -> tuple[int, str]:
        """The exit status and the output of a DVC command that may fail."""
        return self._run(sys.executable, "-m", "dvc", *arguments)

    def _run(self, *command: str) -> tuple[int, str]:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def dvc(self, *arguments: str) -> str:
        """A DVC command in the project."""
        return self.run(sys.executable, "-m", "dvc", *arguments)

    def python(self, program: str, *arguments: str) -> str:
        """A Python program in the project, which can import the tests."""
        code = f"import sys; sys.path.append({str(ROOT)!r})\n{program}"
        return self.run(sys.executable, "-c", code, *arguments)

    def commit(self) -> None:
        """Everything, to git."""
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "so far")

    def experiment(self, *overrides: str, where: str = "", target: str = "") -> str:
        """An experiment with the tiny settings, in the workspace, or with `--temp` in a copy.

        It ends with the stage `target` where one is named.
        """
        flags = [word for override in (*SETTINGS, *overrides) for word in ("-S", override)]
        return self.dvc("exp", "run", *filter(None, (where, *flags, target)))

    def parameters(self, *overrides: str) -> None:
        """Write params.yaml with the tiny settings, for `dvc repro`."""
        from hydra import compose, initialize_config_dir
        from omegaconf import OmegaConf

        with initialize_config_dir(str(self.folder / "conf"), version_base=None):
            text = OmegaConf.to_yaml(
                compose("config", overrides=[*SETTINGS, *overrides]), resolve=True
            )
        (self.folder / "params.yaml").write_text(text, encoding="utf-8")

    def run_in_one_process(self) -> str:
        """All stages with the tiny settings, without a process for each, and predict.

        Returns what they print; `UNPICKLED` has what they unpickle.
        """
        self.parameters()
        return self.python(WATCHED)

    def forget(self, *targets: str) -> None:
        """Remove the outputs of stages, so that DVC can restore none of them: they have to run."""
        lock = self.lock()
        cache = self.folder / ".dvc" / "cache" / "files" / "md5"
        for out in [out for target in targets for out in lock["stages"][target]["outs"]]:
            (cache / out["md5"][:2] / out["md5"][2:]).unlink(missing_ok=True)
            path = self.folder / out["path"]
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def lock(self) -> Any:
        """What DVC has noted of the stages' inputs and outputs."""
        return yaml.safe_load((self.folder / "dvc.lock").read_text(encoding="utf-8"))

    def json(self, path: str) -> dict[str, object]:
        """A JSON object of the project."""
        values: dict[str, object] = json.loads((self.folder / path).read_text(encoding="utf-8"))
        return values

    def figures(self) -> list[bytes]:
        """What has to be the same after every run of the tiny pipeline."""
        return [(self.folder / name).read_bytes() for name in FIGURES]

    def runs(self) -> list[tuple[str, str]]:
        """Status and execution of each MLflow run."""
        query = (
            "select status, value from runs join tags on tags.run_uuid = runs.run_uuid "
            "where key = 'execution' and lifecycle_stage = 'active'"
        )
        with contextlib.closing(sqlite3.connect(self.folder / "mlflow.db")) as store:
            return list(store.execute(query))


def new_project(folder: Path, base: Path) -> Project:
    """The project's code in `folder`, in which nothing has run; `base` is pytest's folder."""
    for name in CODE:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    made = Project(folder)
    made.run("git", "init", "-q")
    made.dvc("init", "-q")
    shutil.copy2(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    shutil.copy2(ROOT / "params.yaml", folder / "params.yaml")
    shutil.copy2(empty_store(base), folder / "mlflow.db")
    write_films(folder / PLANTED_FOLDER)
    made.commit()
    return made


def finished_project(base: Path) -> Project:
    """The one project of a test run in which the tiny pipeline has run: for copies, and to read."""

    def make(folder: Path) -> None:
        made = new_project(folder, base)
        said = made.run_in_one_process()
        (folder / OUTPUT).write_text(said, encoding="utf-8")
        made.commit()

    return Project(made_once(base, "finished_project", make))


def copied(project: Project, folder: Path) -> Project:
    """A copy of `project` in the new `folder`, with git, caches and tracked runs."""
    hidden = shutil.ignore_patterns("site_cache")  # DVC makes one for each place
    shutil.copytree(project.folder, folder, ignore=hidden, symlinks=True)
    _move_store(folder / "mlflow.db", str(project.folder), str(folder))
    return Project(folder)


def _move_store(file: Path, old: str, new: str) -> None:
    """MLflow notes absolute paths of artifacts."""
    with contextlib.closing(sqlite3.connect(file)) as store, store:
        tables = store.execute("select name from sqlite_master where type = 'table'").fetchall()
        for (table,) in tables:
            for column in store.execute(f'pragma table_info("{table}")').fetchall():
                name = f'"{column[1]}"'
                store.execute(
                    f'update "{table}" set {name} = replace({name}, ?, ?) where instr({name}, ?)',
                    (old, new, old),
                )
