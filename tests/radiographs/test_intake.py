import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.radiographs import examination, intake
from stages.radiographs.files import FolderError, Source

CANONICAL = examination.Canonical(side_pixels=16, fit="letterbox", maximum_megapixels=1)


def source(folder: Path, content: bytes) -> Source:
    path = folder / "a" / "1.png"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return Source("a/1.png", path, "a")


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def test_a_warning_of_the_decoder_does_not_cost_an_image(tmp_path: Path) -> None:
    palette = Image.new("P", (300, 300))
    palette.info["transparency"] = bytes(range(256))  # Pillow warns about such a palette
    source(tmp_path, png(palette))
    frame, prints = intake.take_in(tmp_path, [], CANONICAL, tmp_path / "pixels.npy")
    assert frame["status"].tolist() == ["used"]
    assert len(prints) == 1


def test_more_files_than_one_batch_stay_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "BATCH_FILES", 3)
    (tmp_path / "a").mkdir()
    for value in range(8):
        Image.new("L", (16, 16), value).save(tmp_path / "a" / f"{value}.png")
    frame, _ = intake.take_in(tmp_path, [], CANONICAL, tmp_path / "pixels.npy")
    assert frame["source"].tolist() == [f"a/{value}.png" for value in range(8)]
    assert np.load(tmp_path / "pixels.npy")[:, 0, 0].tolist() == list(range(8))


def test_a_class_without_usable_image_leaves_no_pixels_behind(tmp_path: Path) -> None:
    source(tmp_path, b"not an image")
    with pytest.raises(FolderError, match="no usable image in a"):
        intake.take_in(tmp_path, [], CANONICAL, tmp_path / "pixels.npy")
    assert not (tmp_path / "pixels.npy").exists()
