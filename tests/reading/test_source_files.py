import logging
import os
import unicodedata
from pathlib import Path
from typing import Literal

import pytest

from knee.reading import source_files
from knee.reading.decoded import UnreadableImage
from knee.reading.source_files import (
    FolderError,
    class_folders,
    folders_in_all,
    list_sources,
    read,
)


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
    tree(tmp_path, "a/1.png", "a/deep/2.png", "stray.png", ".git/x", "a/.hidden", ".x/y")
    (tmp_path / "a" / "broken").symlink_to("nowhere")
    (tmp_path / "a" / "self").symlink_to("self")
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "a" / "1.png")
    os.mkfifo(tmp_path / "a" / "pipe")
    assert obstacles(tmp_path) == {
        ".x/y": "hidden",
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
        (["films.zip"], [], r"for the archive 'films\.zip' set data\.path to it"),
        (["a.zip", "b.zip"], [], r"or unpack a\.zip, b\.zip"),
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


TRAIN_VAL_TEST = [("train", "val", "test"), ("Training", "Valid", "TESTING"), ("test", "train")]


@pytest.mark.parametrize(
    "subsets", [*TRAIN_VAL_TEST, ("train", "validation", "holdout", "auto_test")]
)
def test_subsets_are_no_classes_and_the_message_tells_how_to_keep_them(
    tmp_path: Path, subsets: tuple[str, ...]
) -> None:
    tree(tmp_path, *(f"{part}/{name}/1" for part in subsets for name in "ab"))
    with pytest.raises(FolderError, match=r"subsets \(data\.parts\), not classes") as raised:
        class_folders(tmp_path, [])
    words = str(raised.value).split("'")
    chosen = words[1].removeprefix("data.parts=[").removesuffix("]").split(",")
    assert words[2].startswith(" -S split=official keeps them")
    assert words[3] == words[1]
    assert words[4].startswith(" -S split=grouped takes all as one pool")
    assert class_folders(tmp_path, [], parts=chosen) == ["a", "b"]
    sources = list_sources(tmp_path, parts=chosen)
    assert {source.part for source in sources} <= {"train", "val", "test"}
    assert {source.label for source in sources} == {"a", "b"}


def test_names_that_hydra_cannot_read_are_quoted_in_the_override(tmp_path: Path) -> None:
    tree(tmp_path, "\u8bad\u7ec3\u96c6/a/1", "test (1)/a/1")
    message = r"""-S "data\.parts=\['\u8bad\u7ec3\u96c6','test \(1\)'\]" -S split=official"""
    with pytest.raises(FolderError, match=message):
        class_folders(tmp_path, [])


def test_subsets_without_class_folders_need_a_sheet(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"no class folder in them: name a sheet"):
        class_folders(tree(tmp_path, "train/1", "test/2"), [])


def test_a_single_subset_is_no_class_either(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"not classes: set data\.path to one of them"):
        class_folders(tree(tmp_path, "train/a/1", "train/b/1"), [])


def test_a_subset_beside_classes_is_refused_unless_the_user_calls_it_a_class(
    tmp_path: Path,
) -> None:
    tree(tmp_path, "0/1", "1/1", "auto_test/1")
    with pytest.raises(FolderError, match="has auto_test beside class folders"):
        class_folders(tmp_path, [])
    assert class_folders(tmp_path, ["0", "1", "auto_test"]) == ["0", "1", "auto_test"]


def test_classes_below_subsets_below_further_folders_are_refused(tmp_path: Path) -> None:
    names = [
        f"{size}/{part}/{k}/1"
        for size in ("224", "299")
        for part in ("train", "test")
        for k in "ab"
    ]
    with pytest.raises(FolderError, match=r"the classes lie deeper, .*: set data\.path to .*/224"):
        class_folders(tree(tmp_path, *names), [])


def test_subsets_below_class_folders_are_no_classes_and_said_not_to_be_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree(tmp_path, *(f"{k}/{part}/1" for k in "ab" for part in ("train", "test")))
    with caplog.at_level(logging.WARNING):
        assert class_folders(tmp_path, []) == ["a", "b"]
    assert "below class folders (a/test) are not kept" in caplog.text
    assert len(caplog.messages) == 1


def test_folders_that_parts_do_not_choose_are_counted_and_have_no_rows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree(tmp_path, "train/a/1", "test/a/1", "auto_test/a/1", "auto_test/a/2", "notes/x", "README")
    with caplog.at_level(logging.INFO):
        sources = list_sources(tmp_path, parts=("train", "val", "test"))
    assert [source.name for source in sources] == ["README", "test/a/1", "train/a/1"]
    assert "left out: 'auto_test', a folder that data.parts does not name (2 files)" in caplog.text
    assert "left out: 'notes', a folder that data.parts does not name (1 files)" in caplog.text


def test_parts_are_found_in_capitals_and_another_unicode_form(tmp_path: Path) -> None:
    tree(tmp_path, "Train/a/1", unicodedata.normalize("NFD", "Validaci\u00f3n") + "/a/1")
    parts = ("train", "validaci\u00f3n")
    assert class_folders(tmp_path, [], parts=parts) == ["a"]
    assert [source.part for source in list_sources(tmp_path, parts=parts)] == ["train", "val"]


def test_a_part_that_is_there_under_another_name_never_vanishes(tmp_path: Path) -> None:
    tree(tmp_path, "train/a/1", "validation/a/1", "test/a/1", "auto_test/a/1")
    with pytest.raises(FolderError, match=r"no val, but validation: .*\[test,train,validation\]"):
        class_folders(tmp_path, [], parts=("train", "val", "test"))


SYSTEM_FILES = (
    *("a/.DS_Store", "a/Thumbs.db", "a/desktop.ini", "a/._1", "__MACOSX/a/._1", "__MACOSX/x"),
    *("@eaDir/1", "a/@eaDir/1/x.jpg", "$RECYCLE.BIN/1", "System Volume Information/x"),
    *(".Trash-1000/files/1", ".Trashes/1", "lost+found/1", ".Spotlight-V100/1", "b/THUMBS.DB"),
    *(".git/objects/1", ".gitignore", "a/.gitkeep", "a/.ipynb_checkpoints/1.png", "~$labels.xlsx"),
)


def test_what_systems_put_beside_files_is_counted_and_neither_file_nor_class(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree(tmp_path, "a/1", "b/2", *SYSTEM_FILES)
    with caplog.at_level(logging.INFO):
        assert class_folders(tmp_path, []) == ["a", "b"]
        assert [source.name for source in list_sources(tmp_path)] == ["a/1", "b/2"]
    counts = [int(message.split("(")[1].split()[0]) for message in caplog.messages]
    assert sum(counts) == len(SYSTEM_FILES)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_class_is_the_same_whatever_the_unicode_form_of_its_folder(
    tmp_path: Path, form: Literal["NFC", "NFD"]
) -> None:
    composed = "Ost\u00e9op\u00e9nie"
    tree(tmp_path, unicodedata.normalize(form, composed) + "/1", "b/1")
    assert class_folders(tmp_path, []) == [composed, "b"]
    assert class_folders(tmp_path, ["b", composed]) == ["b", composed]
    assert {source.label for source in list_sources(tmp_path)} == {composed, "b"}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_folders_in_all_are_found_in_every_unicode_form(
    tmp_path: Path, form: Literal["NFC", "NFD"]
) -> None:
    site, label = (unicodedata.normalize(form, name) for name in ("K\u00f6ln", "Ost\u00e9o"))
    tree(tmp_path, f"{site}/{label}/1", f"{site}/a/1", "b/Ost\u00e9o/1", "b/c/1")
    assert folders_in_all(tmp_path) == ["Ost\u00e9o"]


def test_two_unicode_forms_of_a_folder_are_one_class(tmp_path: Path) -> None:
    names = [unicodedata.normalize(form, "Ost\u00e9o") for form in ("NFC", "NFD")]
    tree(tmp_path, *(f"{name}/{form}" for form, name in enumerate(names)), "b/1")
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("the file system does not tell Unicode forms")
    assert class_folders(tmp_path, []) == ["Ost\u00e9o", "b"]


@pytest.mark.parametrize(
    "name", [b"\xff", b"a\nb", b"\x82\xa0", b"a\tb", b"a ", "a\u200bb".encode()]
)
def test_a_class_folder_whose_name_cannot_be_shown_is_refused(tmp_path: Path, name: bytes) -> None:
    tree(tmp_path, "a/1")
    try:
        os.mkdir(os.fsencode(tmp_path) + b"/" + name)  # noqa: PTH102
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    with pytest.raises(FolderError, match="which gives a class its name: rename it"):
        class_folders(tmp_path, [])


@pytest.mark.parametrize("labelled", [True, False])
def test_listing_a_missing_folder_or_a_file_is_refused(tmp_path: Path, labelled: bool) -> None:
    tree(tmp_path, "file")
    for name in ("missing", "file"):
        with pytest.raises(FolderError, match=r"not a folder: set data\.path"):
            list_sources(tmp_path / name, labelled=labelled)


@pytest.mark.parametrize("target", ["self", "/dev/zero", "pipe", ".."])
def test_what_is_no_file_is_never_read(tmp_path: Path, target: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "self").symlink_to(target)
    source = source_files.SourceFile("self", tmp_path / "self", "")
    with pytest.raises(UnreadableImage, match=r"not a regular file|levels of symbolic links"):
        read(source)


def test_folders_without_end_are_named_and_not_followed(tmp_path: Path) -> None:
    deepest = tmp_path.joinpath(*["a"] * (source_files.MOST_FOLDERS + 100))
    deepest.mkdir(parents=True)
    (deepest / "film.png").touch()
    ((path, reason),) = source_files.walk(tmp_path)
    assert reason == f"more than {source_files.MOST_FOLDERS} folders deep"
    assert len(path.relative_to(tmp_path).parts) == source_files.MOST_FOLDERS
