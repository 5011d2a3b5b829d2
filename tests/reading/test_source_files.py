import os
from pathlib import Path

import pytest

from knee.reading import source_files
from knee.reading.decoded import UnreadableImage
from knee.reading.source_files import FolderError, class_folders, list_sources, read


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
    tree(tmp_path, "a/1.png", "a/deep/2.png", "stray.png", ".git/x", "a/.hidden")
    (tmp_path / "a" / "broken").symlink_to("nowhere")
    (tmp_path / "a" / "self").symlink_to("self")
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "a" / "1.png")
    os.mkfifo(tmp_path / "a" / "pipe")
    assert obstacles(tmp_path) == {
        ".git/x": "hidden",
        "a/.hidden": "hidden",
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


def test_with_official_parts_the_label_is_the_folder_below(tmp_path: Path) -> None:
    tree(tmp_path, "train/a/1", "val/b/deep/2", "val/stray", "auto/a/3", "top", "train/.x/4")
    sources = list_sources(tmp_path, parts=("train", "val", "test"))
    assert {source.name: (source.part, source.label, source.obstacle) for source in sources} == {
        "top": ("", "", "in none of the folders train, val, test"),
        "train/.x/4": ("train", "", "hidden"),
        "train/a/1": ("train", "a", ""),
        "val/b/deep/2": ("val", "b", ""),
        "val/stray": ("val", "", "in no class folder"),
    }


def test_with_official_parts_the_classes_are_those_of_all_parts(tmp_path: Path) -> None:
    tree(tmp_path, "train/a/1", "val/b/2", "auto/c/3")
    assert class_folders(tmp_path, [], parts=("train", "val", "test")) == ["a", "b"]
    with pytest.raises(FolderError, match=r"data.parts names tr, te, but .* has none of them"):
        class_folders(tmp_path, [], parts=("tr", "te"))


def test_without_class_folders_no_file_has_or_needs_a_label(tmp_path: Path) -> None:
    sources = list_sources(tree(tmp_path, "a/1", "stray", ".x"), labelled=False)
    assert {source.name: source.obstacle for source in sources} == {
        ".x": "hidden",
        "a/1": "",
        "stray": "",
    }
    assert {source.label for source in sources} == {""}


@pytest.mark.parametrize("name", ["1.zip", "1.tar.gz", "1.TGZ", "1.7z", "1.rar", "1.tar"])
def test_an_archive_inside_the_data_is_not_opened(tmp_path: Path, name: str) -> None:
    tree(tmp_path, f"a/{name}")
    assert obstacles(tmp_path) == {f"a/{name}": "an archive inside the data: unpack it"}


def test_a_file_that_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_files, "MAXIMUM_FILE_BYTES", 0)
    (source,) = list_sources(tree(tmp_path, "a/1.png"))
    with pytest.raises(UnreadableImage, match="larger than 0 MiB"):
        read(source)


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
    ],
)
def test_folders_that_are_not_the_classes_are_refused(
    tmp_path: Path, names: list[str], classes: list[str], message: str
) -> None:
    with pytest.raises(FolderError, match=message):
        class_folders(tree(tmp_path, *names), classes)


def test_messages_name_few_folders_and_the_archive_they_come_from(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{number:02}/1" for number in range(20)))
    with pytest.raises(FolderError, match=r"but films\.zip has only 00, .*, 07 and 12 more$"):
        class_folders(tmp_path, ["a"], shown=Path("films.zip"))


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"not a folder: set data\.path"):
        class_folders(tmp_path / "missing", [])
