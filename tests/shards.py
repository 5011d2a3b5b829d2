"""Arrays as folders of shards, for tests that begin or end with one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from knee.classifier.features import feature_source
from knee.storage import row_files


def save(folder: Path, values: npt.NDArray[Any]) -> None:
    """Write `values`, (rows, ...)."""
    with row_files.written_rows(folder, values.shape[1:], values.dtype) as file:
        file.extend(values)


def save_features(
    folder: Path, values: npt.NDArray[np.float16], views: Sequence[str] = ("image",)
) -> None:
    """Write `values`, (rows, views, ...), as embed writes the features of all images."""
    save(folder / feature_source.FEATURES, values)
    feature_source.write_images(np.arange(len(values)), folder)
    (folder / feature_source.ORIGIN).write_text(json.dumps({"views": views}), encoding="utf-8")


def load(folder: Path) -> npt.NDArray[Any]:
    """Return all that lies there, (rows, ...)."""
    return np.concatenate([np.load(path) for path in sorted(folder.iterdir())])


def content(path: Path) -> bytes:
    """Return the bytes of a file, or of all files in a folder of shards, in order."""
    return b"".join(
        file.read_bytes() for file in ([path] if path.is_file() else sorted(path.iterdir()))
    )


def copy(path: Path, folder: Path) -> None:
    """Copy a file, or a folder of shards, into `folder`."""
    if path.is_dir():
        shutil.copytree(path, folder / path.name)
    else:
        shutil.copy(path, folder)
