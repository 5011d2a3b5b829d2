"""A clone of the project, with a cache and a store of runs of its own, whose runs get killed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import psutil
import yaml

from benchmarks import machine
from benchmarks.reliability.attempt import Run

MODEL_DIGEST = re.compile(rb'"model_sha256": "[0-9a-f]{64}"')
MARK = "KNEE_TORTURE"  # in the environment of every process of a clone's runs
TINY = (
    "model=mobilenet",
    "model.train_from=head",  # of random weights: all stages run, and none takes long
    "sample.patients=45",
    "sample.size_pixels=96",
    "ingest.image_size_pixels=32",
    "train.epochs=4",
    "train.members=2",
    "train.members_seeds=1",
    "head.attention=false",  # takes seconds to trace, in every process that trains
    "split.folds=3",
    "validate.minimum_images_per_class=3",
    "validate.maximum_rejected_share=0.2",
    "audit.repeats=1",
    "audit.permutations=19",
    "audit.bootstrap_draws=20",
    "cross_validate.folds=2",
    "cross_validate.repeats=1",
    "execution.processes=0",
    "cross_validate.bootstrap_draws=20",
    "evaluate.bootstrap_draws=20",
    "evaluate.strangers_per_kind=3",
    "explain.images=3",
    "explain.bootstrap_draws=20",
    "compare.bootstrap_draws=20",
    "register.bootstrap_draws=20",
    "register.minimum_probability=0",  # of nets that have learned nothing
    "register.minimum_out_of_distribution_auc=0",
    "register.maximum_calibration_error=1",
)


CODE = (
    "knee",
    "stages",
    "conf",
    "dvc.yaml",
    "params.yaml",
    "pyproject.toml",
    ".dvcignore",
    ".gitignore",
    ".dvc/config",
)


class Clone:
    """The files that git knows here, as they stand, in a repository of their own."""

    def __init__(self, folder: Path, store: Path | None = None) -> None:
        self.folder = folder
        self.mark = uuid.uuid4().hex
        for name in _known_files():
            if (machine.ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(machine.ROOT / name, folder / name)
        (folder / "dvc.lock").unlink(missing_ok=True)
        self._compose()
        self.command("git", "init", "-q")
        self.command("git", "add", "-A")
        who = ("-c", "user.name=torture", "-c", "user.email=torture@localhost")
        self.command("git", *who, "commit", "-qm", "start")
        if store is not None:
            shutil.copy2(store, folder / "mlflow.db")

    @property
    def environment(self) -> dict[str, str]:
        """Of its processes: nothing of the user's stores and settings, and a mark to find them."""
        hidden = ("MLFLOW_", "DVC_", "GIT_")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
        binaries = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
        own = {"DVC_SITE_CACHE_DIR": str(self.folder / ".dvc" / "tmp" / "site_cache")}
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"}
        return {**kept, **own, **quiet, "PATH": binaries, MARK: self.mark}

    def command(self, *command: str) -> str:
        """Run to the end; its output."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout + done.stderr

    def repro(self) -> Run:
        """Begin `dvc repro`."""
        return Run(self.folder, self.environment)

    def set(self, key: str, value: Any) -> None:
        """Change one value of params.yaml."""
        path = self.folder / "params.yaml"
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        *sections, name = key.split(".")
        inside = values
        for section in sections:
            inside = inside[section]
        inside[name] = value
        path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")

    def restore_parameters(self) -> None:
        """params.yaml as it was."""
        self.command("git", "checkout", "-q", "params.yaml")

    def processes(self) -> list[psutil.Process]:
        """All that run on behalf of this clone."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == self.mark and process.status() != "zombie":
                    found.append(process)
        return found

    def results(self) -> dict[str, str]:
        """MD5 of every file of metrics/ and of the tables that the stages hand on.

        But for the digest of the model's file, which holds the time of its making.
        """
        paths = [*(self.folder / "metrics").rglob("*"), *(self.folder / "data").glob("*.*")]
        files = [path for path in paths if path.is_file() and path.name != ".gitignore"]
        return {str(path.relative_to(self.folder)): _md5_of_figures(path) for path in sorted(files)}

    def damaged_objects(self) -> list[str]:
        """Objects of the cache whose content is not what their name says."""
        cache = self.folder / ".dvc" / "cache" / "files" / "md5"
        objects = [path for path in cache.glob("??/*") if not path.name.endswith(".tmp")]
        return [
            str(path.relative_to(cache))
            for path in objects
            if path.parent.name + path.name.removesuffix(".dir") != _md5(path)
        ]

    def runs(self) -> list[tuple[str, str]]:
        """Status and execution of each MLflow run that is not deleted."""
        query = (
            "select status, value from runs left join tags "
            "on tags.run_uuid = runs.run_uuid and tags.key = 'execution' "
            "where lifecycle_stage = 'active'"
        )
        with contextlib.closing(sqlite3.connect(self.folder / "mlflow.db")) as store:
            return [(str(status), str(execution)) for status, execution in store.execute(query)]

    def faults(self, expected: dict[str, str]) -> list[str]:
        """What is otherwise than after an uninterrupted run, which gave `expected`."""
        found = self.results()
        names = sorted({*found, *expected})
        wrong = [f"{name} differs" for name in names if found.get(name) != expected.get(name)]
        wrong += [f"cache object {name} is damaged" for name in self.damaged_objects()]
        wrong += [f"process {process.pid} is left" for process in self.processes()]
        runs = self.runs()
        wrong += [f"MLflow run of {one} is {status}" for status, one in runs if status == "RUNNING"]
        executions = [one for _, one in runs]
        several = [one for one in {*executions} if executions.count(one) > 1]
        wrong += [f"{one} has several MLflow runs" for one in several]
        said = self.command(sys.executable, "-m", "dvc", "status")
        clean = {"check:", "always changed", "Data and pipelines are up to date.", ""}
        changed = {line.strip() for line in said.splitlines()} - clean
        return [*wrong, f"dvc status: {said}"] if changed else wrong

    def _compose(self) -> None:
        from hydra import compose, initialize_config_dir
        from omegaconf import OmegaConf

        with initialize_config_dir(str(self.folder / "conf"), version_base=None):
            text = OmegaConf.to_yaml(compose("config", overrides=list(TINY)), resolve=True)
        (self.folder / "params.yaml").write_text(text, encoding="utf-8")


def _md5_of_figures(path: Path) -> str:
    content = MODEL_DIGEST.sub(b"", path.read_bytes())
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _known_files() -> list[str]:
    """Paths of the files that git knows, or of the code where there is no git to ask."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=machine.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return [name for name in done.stdout.split("\0") if name]
    roots = [machine.ROOT / name for name in CODE]
    paths = [*roots, *(path for root in roots for path in root.rglob("*"))]
    return [str(p.relative_to(machine.ROOT)) for p in paths if "__pycache__" not in p.parts]
