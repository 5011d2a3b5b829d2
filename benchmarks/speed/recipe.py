"""The published recipe against embed + train: wall time to a trained model, test accuracy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.speed.workspace import Workspace

PUBLISHED_ACCURACY = {"mobilenet": 0.70, "xception": 0.67}  # as its authors printed them
EPOCHS_ALLOWED = 10  # of the published recipe, which stopped after nine
OVERRIDES = (
    "split=random",
    "embed.mirrored_view=false",
    "train.augmentation.horizontal_flip=false",
    "train.epochs=8",
)


def measure(workspace: Workspace, steps: int, whole: Collection[str]) -> dict[str, Any]:
    """Both backbones, one after the other, each way; the recipe to its end on those of `whole`."""
    workspace.compose(*OVERRIDES)
    taken_in = workspace.take_in()
    from knee import tracking

    os.environ["DVC_ROOT"] = str(workspace.folder)
    tracking.Registry("warm-up")  # an empty MLflow store: it is made once a project
    found = {
        name: _backbone(workspace, name, steps, EPOCHS_ALLOWED if name in whole else 0)
        for name in PUBLISHED_ACCURACY
    }
    slow = sum(each["recipe"]["seconds"] for each in found.values())
    fast = sum(each["seconds"] for each in found.values())
    return {
        "speedup": {
            **{name: each["speedup"] for name, each in found.items()},
            "both": round(slow / fast, 1),
        },
        "settings": list(OVERRIDES),
        "ingest_seconds": round(taken_in.seconds, 1),  # in neither sum
        **found,
    }


def _backbone(workspace: Workspace, name: str, steps: int, epochs: int) -> dict[str, Any]:
    recipe = _recipe(workspace.data, workspace.weights, name, steps, epochs)
    embedded, trained = workspace.embed(name), workspace.train(name)
    seconds = embedded.seconds + trained.seconds
    return {
        "recipe": recipe,
        "embed_seconds": round(embedded.seconds, 1),
        "train_seconds": round(trained.seconds, 1),
        "seconds": round(seconds, 1),
        "speedup": round(recipe["seconds"] / seconds, 1),
        "test_accuracy": round(workspace.accuracy(name, "test"), 4),
        "val_accuracy": round(workspace.accuracy(name, "val"), 4),
        "peak_megabytes": {
            "embed": round(embedded.peak_megabytes),
            "train": round(trained.peak_megabytes),
        },
    }


def _recipe(data: Path, weights: Path, name: str, steps: int, epochs: int) -> dict[str, Any]:
    flags = [f"--backbone={name}", f"--data={data}", f"--weights={weights}", f"--steps={steps}"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.speed.published", *flags, f"--epochs={epochs}"],
        cwd=machine.ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,  # its epochs are shown, on stderr
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the published recipe on {name} ended with status {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    seconds = found["start_seconds"] + found["training_seconds"]
    return {
        **found,
        "seconds": round(seconds, 1),
        "published_test_accuracy": PUBLISHED_ACCURACY[name],
    }
