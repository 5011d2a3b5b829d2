"""Predictions of held-out records: the table predictions.csv, made, checked and read."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.statistics import scores
from knee.storage.arrays import Probabilities
from knee.storage.artifacts import ArtifactError

HELD_OUT: Final = ("val", "test")
KEPT: Final = ["record", "source", "pixel_sha256", "group", "subset", "class_index", "label"]


def held_out(records: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """Records of val and test, by record number, with the split's subset and group.

    Raises:
        ArtifactError: one of the two has no records.
    """
    described = records.drop(columns="group")
    joined = described.merge(split[["record", "subset", "group"]], on="record", how="inner")
    for subset in HELD_OUT:
        if subset not in set(joined["subset"]):
            raise ArtifactError(f"the split has no {subset} records: run the split stage")
    return joined[joined["subset"].isin(HELD_OUT)].sort_values("record").reset_index(drop=True)


def predictions(
    held: pd.DataFrame, probabilities: Probabilities, class_names: Sequence[str]
) -> pd.DataFrame:
    """The table predictions.csv: columns `KEPT`, predicted, and `probability_<class>` of each.

    Args:
        held: rows of `held_out`.
        probabilities: float (rows, classes), in the same order.
        class_names: in the order of the probabilities.

    Raises:
        scores.ScoreError: probabilities that are none, such as NaN of a diverged training.
    """
    scores.checked(held["class_index"].to_numpy(), probabilities)
    rounded = scores.rounded(probabilities)
    table = held[KEPT].copy()
    table["predicted"] = np.array(class_names, dtype=object)[rounded.argmax(axis=1)]
    for number, name in enumerate(class_names):
        table[f"probability_{name}"] = rounded[:, number]
    return table


def probabilities_of(table: pd.DataFrame, class_names: Sequence[str]) -> npt.NDArray[np.float64]:
    """(rows, classes) of a table of `predictions`."""
    return table[[f"probability_{name}" for name in class_names]].to_numpy(np.float64)


def read_predictions(content: bytes) -> pd.DataFrame:
    """predictions.csv with names and hashes as text, whatever they look like.

    Raises:
        ArtifactError: the content is no table.
    """
    text = {"label": str, "predicted": str, "pixel_sha256": str, "subset": str}
    try:
        return pd.read_csv(io.BytesIO(content), dtype=text, keep_default_na=False)
    except ValueError as error:
        raise ArtifactError(f"predictions.csv is no table ({error}): run `dvc repro`") from error
