import hashlib
import io
from pathlib import Path

from PIL import Image

from stages.radiographs import examination
from stages.radiographs.files import Source

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


def test_a_rejected_file_keeps_its_hash_and_size(tmp_path: Path) -> None:
    examined = examination.examine(source(tmp_path, b"not an image"), CANONICAL)
    assert examined.canonical is None
    assert examined.prints is None
    assert examined.columns["status"] == "rejected"
    assert examined.columns["sha256"] == hashlib.sha256(b"not an image").hexdigest()
    assert examined.columns["bytes"] == 12


def test_an_unread_file_has_neither_hash_nor_size() -> None:
    missing = Source("a/1.png", Path("a/1.png"), "a", "broken link")
    columns = examination.examine(missing, CANONICAL).columns
    assert (columns["reason"], columns["sha256"], columns["bytes"]) == ("broken link", "", 0)


def test_prints_have_one_size_whatever_the_image(tmp_path: Path) -> None:
    for size in ((1, 1), (300, 2), (50, 70)):
        prints = examination.examine(source(tmp_path, png(Image.new("L", size))), CANONICAL).prints
        assert prints is not None
        assert prints.upright.shape == prints.mirrored.shape == (32,)
        assert prints.reduced.shape == (48, 48)
