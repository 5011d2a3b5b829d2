"""Run all stages of the DVC project in the working directory, all but one in this process.

Most of a tiny pipeline's time goes into starts of processes that import TensorFlow and MLflow.
Here DVC resolves dvc.yaml and orders the stages, their `main` gets the words of their command,
and DVC notes what they have made: afterwards nothing is left for `dvc repro` to run.
"""

from __future__ import annotations

import importlib
import os
import shlex
import subprocess
import sys
from pathlib import Path

import networkx  # type: ignore[import-untyped]
from dvc.repo import Repo

ALONE = {"stages.embed"}  # lets Keras compute with OpenVINO, the others with TensorFlow


def main() -> int:
    """Run them; the exit status of the first that fails."""
    root = Path.cwd()
    sys.path[0] = str(root)  # the project's own stages, and nothing beside this file
    os.environ["DVC_ROOT"] = str(root)
    with Repo(str(root)) as repository:
        for stage in networkx.topological_sort(repository.index.graph.reverse()):
            if status := run(stage.cmd):
                return status
        repository.commit(force=True)
    return 0


def run(command: str) -> int:
    """The exit status of a stage's command."""
    python, option, module, *arguments = shlex.split(command)
    if (python, option) != ("python", "-m"):
        raise ValueError(f"no stage: {command}")
    if module in ALONE:
        return subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode
    status: int = importlib.import_module(module).main(arguments)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
