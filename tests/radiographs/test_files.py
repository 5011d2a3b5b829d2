import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from stages.radiographs.files import (
    FolderError,
    UnreadableImage,
    class_folders,
    decode,
    list_sources,
    read,
)

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5


def encoded(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def tree(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def obstacles(root: Path) -> dict[str, str]:
    return {source.name: source.obstacle for source in list_sources(root)}


@pytest.mark.parametrize("names", [("a/10", "a/9", "a-b/1", "B/é", "B/z")])
@pytest.mark.parametrize("step", [1, -1])
def test_order_is_that_of_bytes_whatever_was_created_first(
    tmp_path: Path, names: tuple[str, ...], step: int
) -> None:
    tree(tmp_path, *names[::step])
    assert [source.name for source in list_sources(tmp_path)] == [
        "B/z",
        "B/é",
        "a-b/1",
        "a/10",
        "a/9",
    ]


def test_every_file_is_listed_and_those_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.png", "a/deep/2.png", "stray.png", ".git/x", "a/.DS_Store")
    (tmp_path / "a" / "broken").symlink_to("nowhere")
    (tmp_path / "a" / "self").symlink_to("self")
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "a" / "1.png")
    os.mkfifo(tmp_path / "a" / "pipe")
    assert obstacles(tmp_path) == {
        ".git/x": "hidden",
        "a/.DS_Store": "hidden",
        "a/1.png": "",
        "a/broken": "broken link",
        "a/deep/2.png": "",
        "a/link": "",
        "a/pipe": "not a regular file",
        "a/self": "link to itself",
        "a/up": "link to a folder that contains it",
        "stray.png": "in no class folder",
    }


def test_label_is_the_first_folder(tmp_path: Path) -> None:
    tree(tmp_path, "a/deep/1", "b/2", "stray")
    assert [source.label for source in list_sources(tmp_path)] == ["a", "b", ""]


def test_a_name_that_is_not_utf8_is_listed_in_ascii(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/a/\xff.png")).write_bytes(b"x")
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    assert obstacles(tmp_path) == {"a/\\xff.png": "name is not UTF-8: rename the file"}


def test_a_file_that_cannot_be_read_gives_a_reason_without_its_path(tmp_path: Path) -> None:
    (source,) = list_sources(tree(tmp_path, "a/1.png"))
    source.path.unlink()
    with pytest.raises(UnreadableImage) as reason:
        read(source)
    assert str(reason.value) == "cannot be read: No such file or directory"


def test_classes_are_in_the_order_of_the_scale_or_of_the_names(tmp_path: Path) -> None:
    tree(tmp_path, "b/1", "a/1", ".hidden/1", "stray")
    assert class_folders(tmp_path, []) == ["a", "b"]
    assert class_folders(tmp_path, ["b", "a"]) == ["b", "a"]


@pytest.mark.parametrize(
    ("names", "classes", "message"),
    [
        (["stray"], [], "has no sub-folder"),
        (["a/1"], ["a", "b"], "data.classes names b, but .* has only a"),
        (["a/1", "b/1"], ["a"], "has b, which data.classes does not name"),
        (["a/1"], ["a", "a"], "names a class twice"),
    ],
)
def test_folders_that_are_not_the_classes_are_refused(
    tmp_path: Path, names: list[str], classes: list[str], message: str
) -> None:
    with pytest.raises(FolderError, match=message):
        class_folders(tree(tmp_path, *names), classes)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"not a folder: set data\.path"):
        class_folders(tmp_path / "missing", [])


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF"])
def test_gray_pixels_come_back_unchanged(file_format: str) -> None:
    decoded = decode(encoded(Image.fromarray(RAMP), file_format), 1)
    np.testing.assert_array_equal(decoded.pixels, RAMP)
    assert decoded.pixels.dtype == np.uint8
    assert (decoded.mode, decoded.format) == ("L", file_format)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_gray_in_another_mode_is_the_same_picture(mode: str) -> None:
    decoded = decode(encoded(Image.fromarray(RAMP).convert(mode)), 1)
    np.testing.assert_array_equal(decoded.pixels, RAMP)
    assert decoded.mode == mode


def test_bilevel_is_black_and_white() -> None:
    image = Image.fromarray(RAMP > 100)
    assert image.mode == "1"
    np.testing.assert_array_equal(decode(encoded(image), 1).pixels, (RAMP > 100) * np.uint8(255))


def test_cmyk_keeps_its_polarity() -> None:
    image = Image.fromarray(RAMP).convert("RGB").convert("CMYK")
    pixels = decode(encoded(image, "TIFF"), 1).pixels
    assert np.abs(pixels.astype(int) - RAMP).max() <= 1


def test_transparent_parts_are_black() -> None:
    image = Image.new("RGBA", (4, 4), (255, 255, 255, 0))
    image.paste((255, 255, 255, 255), (0, 0, 2, 4))
    pixels = decode(encoded(image), 1).pixels
    assert pixels[:, :2].min() == 255
    assert pixels[:, 2:].max() == 0


deep_images = [
    (RAMP.astype(np.uint16) * 200 + 1000, "PNG"),
    (RAMP.astype(np.uint16) * 200 + 1000, "TIFF"),
    (RAMP.astype(np.int32) * 100_000, "TIFF"),
    (RAMP.astype(np.float32) / 17 - 3, "TIFF"),
]


@pytest.mark.parametrize(("values", "file_format"), deep_images)
def test_deep_pixels_fill_the_range_and_keep_their_order(
    values: npt.NDArray[Any], file_format: str
) -> None:
    pixels = decode(encoded(Image.fromarray(values), file_format), 1).pixels
    assert (pixels.min(), pixels.max()) == (0, 255)
    expected = np.rint((values - float(values.min())) * 255 / float(np.ptp(values)))
    assert np.abs(pixels - expected).max() <= 1


def test_a_constant_deep_image_is_black() -> None:
    image = Image.fromarray(np.full((4, 4), 900, np.uint16))
    assert decode(encoded(image), 1).pixels.max() == 0


def test_values_that_are_not_numbers_are_refused() -> None:
    image = Image.fromarray(np.full((4, 4), np.nan, np.float32))
    with pytest.raises(UnreadableImage, match="not numbers"):
        decode(encoded(image, "TIFF"), 1)


def test_exif_rotation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    decoded = decode(encoded(Image.fromarray(RAMP), exif=exif), 1)
    np.testing.assert_array_equal(decoded.pixels, np.rot90(RAMP, -1))


def two_frames() -> bytes:
    image = Image.fromarray(RAMP)
    return encoded(image, "TIFF", save_all=True, append_images=[image])


refused = {
    "empty": (b"", "not a JPEG, PNG, TIFF, BMP image"),
    "text": (b"not an image", "not a JPEG, PNG, TIFF, BMP image"),
    "GIF": (encoded(Image.fromarray(RAMP), "GIF"), "not a JPEG, PNG, TIFF, BMP image"),
    "two frames": (two_frames(), "holds 2 images: export one a file"),
    "large": (
        encoded(Image.new("L", (1001, 1000))),
        "1001 x 1000 px is above ingest.maximum_megapixels = 1",
    ),
}


@pytest.mark.parametrize("case", refused)
def test_what_is_no_usable_image_is_refused_with_its_reason(case: str) -> None:
    content, reason = refused[case]
    with pytest.raises(UnreadableImage) as raised:
        decode(content, 1)
    assert str(raised.value) == reason


def test_size_is_refused_before_any_pixel_is_decoded() -> None:
    whole = encoded(Image.new("L", (2000, 2000)))
    with pytest.raises(UnreadableImage, match="2000 x 2000 px"):
        decode(whole[:60], 1)  # the header is all there is


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "BMP"])
def test_a_truncated_image_is_refused(file_format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    content = encoded(Image.fromarray(noise), file_format)
    with pytest.raises(UnreadableImage):
        decode(content[: len(content) // 2], 1)


@given(
    st.sampled_from(["JPEG", "PNG", "TIFF", "BMP"]),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8),
)
@example("TIFF", [(4, 255)])
def test_damaged_bytes_give_pixels_or_one_line_that_repeats(
    file_format: str, damages: list[tuple[int, int]]
) -> None:
    content = bytearray(encoded(Image.fromarray(RAMP), file_format))
    for position, value in damages:
        content[position % len(content)] = value
    outcomes = [outcome(bytes(content)) for _ in range(2)]
    assert outcomes[0] == outcomes[1]
    assert "\n" not in outcomes[0]
    assert "0x" not in outcomes[0]


def outcome(content: bytes) -> str:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return str(decode(content, 1).pixels.tolist())
        except UnreadableImage as reason:
            return str(reason)
