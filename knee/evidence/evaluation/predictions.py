"""Predictions of records that a model has not seen: tables made, checked, read and scored."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
import pandas as pd

from knee.statistics import scores
from knee.statistics.scores import Outcomes
from knee.storage.arrays import Floats, Probabilities
from knee.storage.artifacts import ArtifactError, with_all_texts

HELD_OUT: Final = ("val", "test")
# Columns of predictions.csv, before those of `with_probabilities`.
KEPT: Final = ["record", "source", "pixel_sha256", "group", "subset", "class_index", "label"]
PREFIX: Final = "probability_"  # of the column of each class


def held_out(
    records: pd.DataFrame, split: pd.DataFrame, subsets: Sequence[str] = HELD_OUT
) -> pd.DataFrame:
    """Return records of `subsets`, by record number, with the split's subset and group.

    Raises:
        ArtifactError: one of the two has no records.
    """
    described = records.drop(columns="group")
    joined = described.merge(split[["record", "subset", "group"]], on="record")
    for subset in subsets:
        if subset not in set(joined["subset"]):
            raise ArtifactError(f"the split has no {subset} records: run the split stage")
    return joined[joined["subset"].isin(subsets)].sort_values("record").reset_index(drop=True)


def with_probabilities(
    described: pd.DataFrame, probabilities: Probabilities, class_names: Sequence[str]
) -> pd.DataFrame:
    """Return `described` with the columns predicted, and `probability_<class>` of each class.

    One row a record, with its class_index; `probabilities` are (rows, classes).

    Raises:
        scores.ScoreError: rows that are not probabilities (NaN, or not summing to 1), e.g. after
            training diverged.
    """
    scores.checked(described["class_index"].to_numpy(), probabilities)
    rounded = scores.rounded(probabilities)
    table = described.copy()
    table["predicted"] = np.array(class_names, dtype=object)[rounded.argmax(axis=1)]
    for number, name in enumerate(class_names):
        table[f"{PREFIX}{name}"] = rounded[:, number]
    return table


def outcomes(table: pd.DataFrame, class_names: Sequence[str]) -> Outcomes:
    """Return truth, probabilities and groups of a table of predictions."""
    truth, groups = table["class_index"].to_numpy(), table["group"].to_numpy()
    return Outcomes(truth, probabilities_of(table, class_names), groups, class_names)


def probabilities_of(table: pd.DataFrame, class_names: Sequence[str]) -> Floats:
    """Return (rows, classes) of a table of predictions."""
    return table[[f"{PREFIX}{name}" for name in class_names]].to_numpy(np.float64)


def predicted_classes(table: pd.DataFrame) -> list[str]:
    """Return the names of the classes that a table has probabilities of, in their order."""
    return [name.removeprefix(PREFIX) for name in table.columns if name.startswith(PREFIX)]


def check_columns(table: pd.DataFrame, needed: Collection[str], whose: str = "") -> None:
    """Raise `ArtifactError` where a table of predictions lacks a column, or every probability."""
    missing = [name for name in needed if name not in table]
    if not missing and not predicted_classes(table):
        missing = [f"{PREFIX}CLASS"]
    if missing:
        raise ArtifactError(
            f"the predictions{whose} have no column {', '.join(missing)}: run `dvc repro`"
        )


def read_predictions(content: bytes) -> pd.DataFrame:
    """Return predictions.csv with names and hashes as text, whatever they look like.

    Raises:
        ArtifactError: the content is not a table.
    """
    text = {"label": str, "predicted": str, "pixel_sha256": str, "subset": str}
    try:
        table = pd.read_csv(io.BytesIO(content), dtype=text, keep_default_na=False)
    except ValueError as error:
        raise ArtifactError(f"predictions.csv is no table ({error}): run `dvc repro`") from error
    return with_all_texts(table)
