"""Training rows, the rare classes repeated until all are as frequent."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from knee.splits.split_table import SplitError


def training_rows(
    records: pd.DataFrame, split: pd.DataFrame, method: Literal["random", "none"], seed: int
) -> pd.DataFrame:
    """Return rows of the train subset: each once, then the repeats that `method` adds.

    Args:
        records: the records table.
        split: columns record and subset.
        method: "random" repeats rows at random (imblearn's `RandomOverSampler`) until every class
            has as many as the largest; "none" repeats nothing.
        seed: of the choice.

    Returns:
        Columns record, class_index, pixel_row, int64. No row of val or test is ever in it.

    Raises:
        SplitError: the split is of other records, or has no train rows.
    """
    if sorted(records["record"]) != sorted(split["record"]):
        raise SplitError("the split is of other records: run the split stage again")
    joined = records.merge(split[["record", "subset"]], on="record")
    rows = joined.loc[joined["subset"] == "train", ["record", "class_index", "pixel_row"]]
    rows = rows.reset_index(drop=True)
    if rows.empty:
        raise SplitError("the split has no train rows: run the split stage again")
    if method == "none" or rows["class_index"].nunique() < 2:
        return rows
    from imblearn.over_sampling import RandomOverSampler

    positions = np.arange(len(rows))[:, np.newaxis]
    sampler = RandomOverSampler(random_state=seed)
    chosen, _ = sampler.fit_resample(positions, rows["class_index"].to_numpy())
    repeated: pd.DataFrame = rows.iloc[chosen[:, 0]].reset_index(drop=True)
    return repeated
