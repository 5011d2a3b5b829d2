"""The list of a split's images, written and read."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from knee.splits.split_images import read_images, write_images
from knee.storage.artifacts import ArtifactError


def test_each_image_is_listed_once_and_in_order(tmp_path: Path) -> None:
    write_images(pd.DataFrame({"pixel_row": [7, 0, 7, 3]}), tmp_path / "list.csv")
    assert read_images(tmp_path / "list.csv").tolist() == [0, 3, 7]


@pytest.mark.parametrize(
    "content",
    ["", "pixel_row\n", "pixel_row\n3\n2\n", "pixel_row\n-1\n", "row\n1\n", "pixel_row\nx\n"],
)
def test_a_damaged_list_is_told_by_its_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "list.csv").write_text(content)
    with pytest.raises(ArtifactError, match=r"list\.csv is no list of images.*dvc repro"):
        read_images(tmp_path / "list.csv")
