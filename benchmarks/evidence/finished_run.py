"""A finished run of the pipeline, as benchmarks read it: records, features, predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.classifier.features import feature_source
from knee.records import file_names, records_table
from knee.run import parameters
from knee.splits import cross_validation, split_table
from knee.splits.cross_validation import Fold
from knee.storage.arrays import AnyFloats

ROWS_AT_ONCE = 256
VIEWS = (feature_source.IMAGE, feature_source.MIRROR)


@dataclass(frozen=True)
class FinishedRun:
    """A folder with params.yaml, data/ and metrics/, of the grouped split.

    Attributes:
        folder: where it is.
        settings: its parameters.
        records: all records.
        films: those with pixels that are no copies by name, quarantined ones too.
        kept: those that cross_validate predicts, numbered from 0.
    """

    folder: Path
    settings: parameters.Params
    records: pd.DataFrame
    films: pd.DataFrame
    kept: pd.DataFrame

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """(kept,) class indices."""
        return self.kept["class_index"].to_numpy(np.int64)

    @property
    def classes(self) -> list[str]:
        """Names, by class index."""
        return records_table.class_names(self.records)

    def folds(self, repeats: int) -> list[Fold]:
        """Those of cross_validate with so many repeats."""
        chosen = self.settings.cross_validate
        protocol = cross_validation.CrossValidationProtocol(
            chosen.folds, repeats, chosen.validation_share, chosen.seed
        )
        return cross_validation.plan_folds(self.kept, protocol)

    def averaged(self, backbone: str) -> AnyFloats:
        """float32 (2, kept, channels): feature maps of image and mirror image, averaged."""
        source = feature_source.open_source(
            self.folder / "data" / "features" / backbone, self.folder / "data" / "pixels"
        )
        if source.pixels or not set(VIEWS) <= set(source.kinds):
            raise SystemExit(f"{self.folder}: {backbone} has no features of image and mirror image")
        rows = self.kept["pixel_row"].to_numpy(np.int64)
        return np.stack([_averaged(source, source.kinds.index(kind), rows) for kind in VIEWS])

    def out_of_fold(self, backbone: str) -> pd.DataFrame:
        """The predictions of cross_validate, by repeat and record."""
        path = self.folder / "metrics" / backbone / "out_of_fold.csv"
        return pd.read_csv(path).sort_values(["repeat", "record"]).reset_index(drop=True)


def read(folder: Path, subset: Literal["all", "development"]) -> FinishedRun:
    """Read `folder`; "development" leaves out every group with a test record."""
    settings = parameters.load(folder / "params.yaml")
    if settings.split.protocol != "grouped":
        raise SystemExit(f"{folder} is a run of the split {settings.split.protocol}, not grouped")
    table = records_table.read_records(folder / "data" / "records.csv")
    split = split_table.read_split(folder / "data" / "split.csv")
    patterns = file_names.patterns_of(settings.ingest)
    originals = file_names.originals(table["source"].tolist(), patterns)
    kept = cross_validation.chosen_records(table, split, patterns, subset)
    films = table[originals & (table["pixel_row"] >= 0)].reset_index(drop=True)
    return FinishedRun(folder, settings, table, films, kept)


def probabilities(table: pd.DataFrame) -> list[npt.NDArray[np.float64]]:
    """(kept, classes) of each repeat of an out-of-fold table, by record."""
    columns = [name for name in table.columns if name.startswith("probability_")]
    return [part[columns].to_numpy(np.float64) for _, part in table.groupby("repeat", sort=True)]


def _averaged(source: feature_source.Source, view: int, rows: npt.NDArray[np.int64]) -> AnyFloats:
    parts = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        chosen = rows[start : start + ROWS_AT_ONCE]
        maps = source.take(np.full_like(chosen, view), chosen).astype(np.float32)
        parts.append(maps.reshape(len(chosen), -1, maps.shape[-1]).mean(axis=1))
    return np.concatenate(parts)
