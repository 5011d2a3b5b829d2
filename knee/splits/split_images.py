"""The list of a split's images: those of all subsets, of which features are computed.

Seeds and folds do not change it, so features are not computed again for another split of the same
images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from knee.storage.arrays import Integers
from knee.storage.artifacts import NO_TABLE, ArtifactError, as_csv, write_text

COLUMN: Final = "pixel_row"


def write_images(members: pd.DataFrame, path: Path) -> None:
    """Write the images of `members`, the records that are in a subset, each once and in order."""
    rows = np.unique(members[COLUMN].to_numpy(np.int64))
    write_text(path, as_csv(pd.DataFrame({COLUMN: rows})))


def read_images(path: Path) -> Integers:
    """Return the rows of the pixels, ascending, that are listed in `path`.

    Raises:
        ArtifactError: it is missing or damaged.
    """
    try:
        frame = pd.read_csv(path, dtype={COLUMN: "int64"})
    except (OSError, *NO_TABLE) as error:
        raise ArtifactError(f"{path} is no list of images ({error}): run `dvc repro`") from error
    rows: Integers = frame.to_numpy()[:, 0]
    ascending = bool((np.diff(rows, prepend=-1) > 0).all())
    if [*frame.columns] != [COLUMN] or frame.empty or not ascending:
        raise ArtifactError(f"{path} is no list of images: run `dvc repro`")
    return rows
