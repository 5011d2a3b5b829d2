"""Masks on disk -> shares of canonical pixels."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from knee.evidence.explanation import bone_masks
from knee.reading.canonical_image import Canonical
from knee.storage.arrays import Maps


def record(source: str = "a/one.jpg", width: int = 40, height: int = 80) -> pd.DataFrame:
    borders = {f"border_{side}": 0 for side in ("top", "bottom", "left", "right")}
    return pd.DataFrame([{"source": source, "width": width, "height": height, **borders}])


def write(folder: Path, mask: np.ndarray[Any, Any], name: str = "a/one.png") -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(folder / name)


def read(folder: Path, records: pd.DataFrame, **changes: Any) -> Maps:
    settings = Canonical(side_pixels=16, fit="letterbox", maximum_megapixels=1)
    return bone_masks.read_masks(folder, records, dataclasses.replace(settings, **changes))


def test_a_mask_is_fitted_as_its_image_is(tmp_path: Path) -> None:
    mask = np.zeros((80, 40), np.bool_)
    mask[40:] = True
    write(tmp_path, mask)
    (boxed,) = read(tmp_path, record())
    assert (boxed[:7] == 0).all()  # the edge of the bone lies between rows 7 and 8
    assert (boxed[9:, 4:12] == 1).all()
    assert (boxed[:, :4] == 0).all()
    (squashed,) = read(tmp_path, record(), fit="squash")
    assert (squashed[9:] == 1).all()


def test_borders_are_cut_off_where_those_of_the_image_were(tmp_path: Path) -> None:
    mask = np.zeros((80, 40), np.bool_)
    mask[40:] = True
    write(tmp_path, mask)
    table = record().assign(border_top=40)
    (cut,) = read(tmp_path, table, crop_borders=True)
    assert (cut == 1).all()  # 40 x 40 are left, all bone


def test_an_image_without_a_mask_is_unknown_not_boneless(tmp_path: Path) -> None:
    write(tmp_path, np.ones((80, 40), np.bool_))
    both = pd.concat([record(), record("b/two.jpg")])
    found = read(tmp_path, both)
    assert np.isnan(found).all(axis=(1, 2)).tolist() == [False, True]


def test_a_mask_of_another_size_or_a_damaged_one_is_named(tmp_path: Path) -> None:
    write(tmp_path, np.ones((70, 40), np.bool_))
    with pytest.raises(bone_masks.MaskError, match=r"one\.png has 40 x 70 pixels.* 40 x 80"):
        read(tmp_path, record())
    (tmp_path / "a" / "one.png").write_bytes(b"no image")
    with pytest.raises(bone_masks.MaskError, match=r"one\.png is no mask"):
        read(tmp_path, record())
