"""Train a small ensemble at the place of work that the first argument describes, as JSON.

Its checkpoints lie in the folder that is the second argument. Printed are digests of the model's
weights, of its predictions and of its history: a model's file has dates and numbers of its own.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from knee.classifier.features.feature_source import Source
from knee.classifier.net.design import BackboneDesign
from knee.classifier.training import fold_training, members
from knee.execution.opening import Opened
from knee.run import parameters
from knee.splits import cross_validation

ROWS, SIDE = 24, 32


def main(execution: str, folder: Path) -> None:
    """Train, save, and print digests of the model and of what it predicted."""
    settings = parameters.load(Path("params.yaml"))
    train = dataclasses.asdict(settings.train) | {"epochs": 2, "batch_size": 8, "members": 2}
    head = dataclasses.asdict(settings.head) | {"projection_channels": 8, "attention_heads": 2}
    design = BackboneDesign("mobilenet", SIDE, train_from="head")
    recipe = fold_training.Recipe("ensemble", design, head, train, "none", 1, 3)
    number = np.arange(ROWS)
    columns = {"record": number, "pixel_row": number, "class_index": number % 3, "group": number}
    kept = pd.DataFrame({**columns, "label": number % 3})
    noise = np.random.default_rng(0).random((1, ROWS, 1, 1, 1024))
    source = Source(noise.astype(np.float16), pixels=False)
    trial = functools.partial(fold_training.trial, recipe, source)
    chosen = parameters.Execution(**json.loads(execution), hosts=())
    here = functools.partial(fold_training.here_of, chosen)
    with Opened(chosen, trial, here) as place_of:
        folds = cross_validation.plan_members(kept, 2, 1, 1)
        made = members.train_members(recipe, source, kept, folds, folder, "key", place_of)
    weights = b"".join(np.asarray(value).tobytes() for value in made.net.get_weights())
    model = hashlib.sha256(weights).hexdigest()
    out_of_fold = hashlib.sha256(made.out_of_fold.tobytes()).hexdigest()
    history = hashlib.sha256(made.history.to_csv().encode()).hexdigest()
    sys.stdout.write(f"model {model} predictions {out_of_fold} history {history}\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
