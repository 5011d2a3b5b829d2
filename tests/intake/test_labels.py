from pathlib import Path

import pytest

from knee.intake.archives import DataFolder
from knee.intake.class_names import ClassNameError
from knee.intake.label_sheet import read_sheet
from knee.intake.labels import ABSENT, AMBIGUOUS, Listing, list_labelled
from knee.intake.spreadsheet import SheetError
from knee.reading.source_files import FolderError
from tests.films import fill


def listed(
    folder: Path, names: list[str], text: str, classes: tuple[str, ...] = (), top: str = ""
) -> Listing:
    images = fill(folder / "images", dict.fromkeys(names, b"\0"))
    sheet = folder / ("sheet.csv" if "\n" in text.strip() else "no_sheet.csv")
    sheet.write_text(text, encoding="utf-8")
    opened = DataFolder(images, Path("films.zip") if top else images, top)
    return list_labelled(opened, read_sheet(sheet, classes, b"key"), classes)


def labels(listing: Listing) -> dict[str, str]:
    return {source.name: source.label or source.obstacle for source in listing.sources}


def test_without_a_sheet_the_folder_is_the_class(tmp_path: Path) -> None:
    listing = listed(tmp_path, ["b/1", "a/1", "stray"], "path,label\n")
    assert labels(listing) == {"a/1": "a", "b/1": "b", "stray": "in no class folder"}
    assert listing.classes == ["a", "b"]
    assert listing.facts == {}


def test_the_sheets_label_wins_over_the_folder_and_any_tree_will_do(tmp_path: Path) -> None:
    listing = listed(
        tmp_path, ["a/1", "study/series/2", "3"], "path,label\na/1,b\nstudy/series/2,a\n3,b\n"
    )
    assert labels(listing) == {"3": "b", "a/1": "b", "study/series/2": "a"}


def test_every_file_and_every_row_is_listed_with_its_reason(tmp_path: Path) -> None:
    text = "path,label\na,Normal\nb,\nc,Broken\nmissing,Normal\n"
    listing = listed(tmp_path, ["a", "b", "c", "d", ".e"], text, ("Normal",))
    assert labels(listing) == {
        ".e": "hidden",
        "a": "Normal",
        "b": "the sheet gives no label",
        "c": "label 'Broken' is none of data.classes",
        "d": "no row in the sheet",
        "missing": ABSENT,
    }
    assert [source.name for source in listing.sources] == [".e", "a", "b", "c", "d", "missing"]


@pytest.mark.parametrize("path", ["a/1.dcm", "a\\1.dcm", "./a/1.dcm", ".\\a\\1.dcm", "a/1", "a\\1"])
def test_a_path_may_be_written_in_other_ways(tmp_path: Path, path: str) -> None:
    assert labels(listed(tmp_path, ["a/1.dcm"], f"path,label\n{path},x\n")) == {"a/1.dcm": "x"}


def test_a_name_as_written_comes_before_one_without_its_extension(tmp_path: Path) -> None:
    listing = listed(tmp_path, ["1.2", "1.2.3"], "path,label\n1.2,x\n1.2.3,y\n")
    assert labels(listing) == {"1.2": "x", "1.2.3": "y"}


def test_a_path_without_extension_that_means_two_files_means_none(tmp_path: Path) -> None:
    listing = listed(tmp_path, ["a.png", "a.jpg", "b"], "path,label\na,x\nb,x\n")
    no_row = "no row in the sheet"
    assert labels(listing) == {"a": AMBIGUOUS, "a.jpg": no_row, "a.png": no_row, "b": "x"}


def test_paths_may_name_the_archives_top_folder_or_not(tmp_path: Path) -> None:
    listing = listed(tmp_path, ["a/1", "a/2.png"], "path,label\ntop/a/1,x\na/2,y\n", top="top")
    assert labels(listing) == {"a/1": "x", "a/2.png": "y"}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a/Film 1.png", "A/FILM 1.PNG"),
        ("a/film 1.png", "a\\film\u00a01.png"),
        ("\u00e9.png", "e\u0301.png"),  # NFC on the disk, NFD in the sheet
        ("e\u0301.png", "\u00e9"),
        ("a/1.png", "a/1.dcm"),
        ("a/1", "a/1.DCM"),
        ("IM 1", "IM  1"),
    ],
)
def test_a_path_in_another_spelling_finds_its_file_and_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, path: str
) -> None:
    listing = listed(tmp_path, [name, "b.png"], f"path,label\nb.png,y\n{path},x\n")
    assert labels(listing) == {name: "x", "b.png": "y"}
    assert "extension than their file: 1, such as" in caplog.text


def test_a_file_that_a_row_names_exactly_is_never_another_rows(tmp_path: Path) -> None:
    listing = listed(
        tmp_path, ["a.png", "A.png"], "path,label\na.png,x\nA.PNG,y\na.dcm,z\n", ("x", "y", "z")
    )
    assert labels(listing) == {"a.png": "x", "A.png": "y", "a.dcm": ABSENT}


def test_a_path_in_another_case_that_means_two_files_means_none(tmp_path: Path) -> None:
    listing = listed(tmp_path, ["a.png", "A.png", "b"], "path,label\nA.PNG,x\nb,x\n")
    assert labels(listing)["A.PNG"] == AMBIGUOUS


def test_the_last_part_of_a_number_is_no_extension(tmp_path: Path) -> None:
    listing = listed(tmp_path, ["1.2.840", "b"], "path,label\n1.2.841,x\n1.2,x\nb,y\n")
    assert labels(listing) == {"1.2": ABSENT, "1.2.840": "no row in the sheet", "1.2.841": ABSENT,
                               "b": "y"}  # fmt: skip


@pytest.mark.parametrize("path", ["other/1.png", "1.png", "/films/a/1.png", "C:\\a\\1.png"])
def test_a_file_of_the_same_name_in_another_folder_is_another_file(
    tmp_path: Path, path: str
) -> None:
    listing = listed(tmp_path, ["a/1.png", "b"], f"path,label\n{path},x\nb,y\n")
    assert labels(listing)["a/1.png"] == "no row in the sheet"


def test_only_files_with_a_row_are_listed_where_the_sheet_has_labels(tmp_path: Path) -> None:
    names = ["a/1", "b/1"]
    for text, expected in (
        ("path,label\na/1,x\n", [True, False]),
        ("path,age\na/1,5\n", [True] * 2),
    ):
        listing = listed(tmp_path, names, text)
        assert [source.listed for source in listing.sources] == expected


def test_one_label_in_several_spellings_is_one_class(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "path,label\na,Normal\nb,NORMAL\nc,Normal\nd,\uff2eormal\nd,normal\ne,OA\n"
    listing = listed(tmp_path, [*"abcde"], text)
    assert listing.classes == ["Normal", "OA"]
    assert labels(listing) == {**dict.fromkeys("abcd", "Normal"), "e": "OA"}
    assert "'NORMAL' (1) as 'Normal'" in caplog.text


def test_two_knees_in_one_file_are_told_to_be_cut(tmp_path: Path) -> None:
    with pytest.raises(SheetError, match=r"rows 2 and 3 say .*: cut the image into one file for"):
        listed(tmp_path, ["a"], "path,label,side\na,x,L\na,y,R\n")


@pytest.mark.parametrize("other", ["normal", "NORMAL", "\uff2eormal"])
def test_two_folders_with_one_name_for_a_reader_are_refused(tmp_path: Path, other: str) -> None:
    with pytest.raises(ClassNameError, match="give them one name, or names that differ in more"):
        listed(tmp_path, ["Normal/1", f"{other}/1", "x/1"], "path\n")


def test_a_folder_without_an_image_is_no_class(tmp_path: Path) -> None:
    fill(tmp_path / "images", {"code/train.py": b"import os", "code/a.pdf": b"\0"})
    with pytest.raises(FolderError, match=r"has no image in code: add images, or move away"):
        listed(tmp_path, ["a/1", "b/1"], "path\n")


def test_an_archive_or_image_beside_the_classes_is_never_a_document(tmp_path: Path) -> None:
    fill(tmp_path / "images", {"README": b"text", "notes.pdf": b"\0", "x.webp": b"RIFF\0"})
    listing = listed(tmp_path, ["a/1", "b/1", "c.zip", "d.png", "e"], "path\n")
    beside = {source.name: source.listed for source in listing.sources if not source.label}
    assert [name for name, counted in beside.items() if not counted] == ["README", "notes.pdf"]
    assert len(beside) == 6


def test_two_of_data_classes_with_one_name_for_a_reader_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ClassNameError, match=r"data\.classes has the classes 'No OA' and 'no_oa'"):
        listed(tmp_path, ["No OA/1", "no_oa/1"], "path\n", ("No OA", "no_oa"))


def test_a_path_out_of_the_folder_is_never_looked_at(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"x")
    listing = listed(tmp_path, ["a"], "path,label\na,x\n../outside,x\n/etc/passwd,x\n")
    assert labels(listing) == {"../outside": ABSENT, "/etc/passwd": ABSENT, "a": "x"}


def test_identical_rows_are_one(tmp_path: Path) -> None:
    text = "path,label,age\na.png,x,\na.png,x,\na,x,\n"
    assert labels(listed(tmp_path, ["a.png"], text)) == {"a.png": "x"}


@pytest.mark.parametrize("second", ["a.png,y,", "a,x,50", "./a.png,y,"])
def test_rows_that_contradict_each_other_are_refused_by_number(tmp_path: Path, second: str) -> None:
    with pytest.raises(SheetError, match="rows 2 and 4 say different things about '"):
        listed(tmp_path, ["a.png", "b"], f"path,label,age\na.png,x,\nb,x,\n{second}\n")


@pytest.mark.parametrize("sides", [("L", "R"), ("right", "Left"), ("links", "rechts")])
def test_two_knees_in_one_image_are_to_be_cut_apart(tmp_path: Path, sides: tuple[str, str]) -> None:
    rows = "".join(f"a/1.png,x,{side}\n" for side in sides)
    with pytest.raises(SheetError, match=r"rows 2 and 3 .*: cut the image into one file for each"):
        listed(tmp_path, ["a/1.png", "a/2.png"], f"path,label,side\n{rows}a/2.png,y,L\n")


def test_facts_alone_leave_the_label_to_the_folder(tmp_path: Path) -> None:
    listing = listed(tmp_path, ["a/1", "b/1"], "path,age\na/1,50\n")
    assert labels(listing) == {"a/1": "a", "b/1": "b"}
    assert listing.facts["a/1"]["age_years"] == 50


def test_a_sheet_among_the_images_is_no_image(tmp_path: Path) -> None:
    images = fill(tmp_path, {"a": b"x", "sheet.csv": b"path,label\na,x\n"})
    sheet = read_sheet(images / "sheet.csv", (), b"key")
    listing = list_labelled(DataFolder(images, images), sheet, ())
    assert labels(listing) == {"a": "x", "sheet.csv": "the sheet itself"}


@pytest.mark.parametrize("names", [["a"], []])
def test_a_sheet_that_fits_no_file_is_refused_with_an_example(
    tmp_path: Path, names: list[str]
) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(SheetError, match=r"no path fits a file of .*: row 2 says 'x/a', the first"):
        listed(tmp_path, names, "path,label\nx/a,y\n")


def test_a_sheet_with_a_label_column_but_no_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SheetError, match="gives no label: fill the column label"):
        listed(tmp_path, ["a"], "path,label\na,\n")


def test_folders_are_named_as_the_user_named_them(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"^films\.zip has no sub-folder"):
        listed(tmp_path, ["1"], "path\n", top="top")
