"""What the next run needs, and what is free."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from knee.health import space
from knee.health.project import Output
from tests import shards


def plan(**changes: object) -> space.Plan:
    values = {"images": 100, "side_pixels": 64, "views": 2, "backbones": ("mobilenet",)}
    return space.Plan(**{**values, **changes})  # type: ignore[arg-type]


def output(stage: str, size: int) -> Output:
    return Output(Path(stage), size, stage)


def test_features_are_as_large_as_embed_writes_them() -> None:
    rows = np.zeros((2, 100, 2, 2, 1024), np.float16)
    assert plan().feature_bytes == rows.nbytes
    assert plan(backbones=()).feature_bytes == 0
    assert plan(backbones=("mobilenet", "xception")).feature_bytes == 3 * rows.nbytes
    assert plan().pixel_bytes == np.zeros((100, 64, 64), np.uint8).nbytes


def test_outputs_are_there_twice_and_what_is_known_or_trained_more_often() -> None:
    outputs = [
        output("sample@sample", 1000),
        output("ingest", 7),
        output("embed@mobilenet", 11),
        output("train@mobilenet", 500),
    ]
    known = space.estimated_bytes(outputs, plan())
    expected = 3 * (plan().pixel_bytes + plan().feature_bytes) + 2 * 1500 + 3 * 500
    assert known == space.RESERVE_BYTES + expected
    unknown = space.estimated_bytes(outputs, plan(images=0))
    assert unknown == space.RESERVE_BYTES + 3 * 18 + 2 * 1500 + 3 * 500


def test_images_are_counted_in_the_pixels_or_else_in_the_folder(tmp_path: Path) -> None:
    films, pixels = tmp_path / "films", tmp_path / "pixels"
    outputs = [Output(tmp_path / "records.csv", 0, "ingest"), Output(pixels, 0, "ingest")]
    assert space.images_known(outputs, films) == 0
    (films / "a").mkdir(parents=True)
    (films / "a" / "1.png").touch()
    assert space.images_known(outputs, films) == 1
    shards.save(pixels, np.zeros((5, 4, 4), np.uint8))
    assert space.images_known(outputs, films) == 5
    (pixels / "00000.npy").write_bytes(b"damaged")
    assert space.images_known(outputs, films) == 0


def test_a_disk_that_is_too_full_is_named_with_the_estimate(tmp_path: Path) -> None:
    enough = space.check_space(1000, plan(), {"the project": tmp_path})
    assert enough.status == "ok"
    assert "needs about 1.0 kB, estimated for 100 images" in enough.found
    full = space.check_space(10**18, plan(images=0), {"DVC's cache": tmp_path})
    assert full.status == "fault"
    assert "free for DVC's cache; a whole run needs about 1000000.0 TB" in full.found
    assert "dvc gc" in full.remedy
