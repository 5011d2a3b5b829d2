"""A copy of the project that runs its whole pipeline in seconds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
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
    "explain.images=3",
    "explain.bootstrap_draws=20",
    "compare.bootstrap_draws=20",
    "register.minimum_probability=0",  # of nets that have learned nothing
    "register.maximum_calibration_error=1",
)


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

    def experiment(self, *overrides: str, where: str = "") -> str:
        """An experiment with the tiny settings, in the workspace, or with `--temp` in a copy."""
        flags = [word for override in (*TINY, *overrides) for word in ("-S", override)]
        return self.dvc("exp", "run", *([where] if where else []), *flags)

    def parameters(self, *overrides: str) -> None:
        """Write params.yaml with the tiny settings, for `dvc repro`."""
        from hydra import compose, initialize_config_dir
        from omegaconf import OmegaConf

        with initialize_config_dir(str(self.folder / "conf"), version_base=None):
            text = OmegaConf.to_yaml(compose("config", overrides=[*TINY, *overrides]), resolve=True)
        (self.folder / "params.yaml").write_text(text, encoding="utf-8")

    def json(self, path: str) -> dict[str, object]:
        """A JSON object of the project."""
        values: dict[str, object] = json.loads((self.folder / path).read_text(encoding="utf-8"))
        return values
