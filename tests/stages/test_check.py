import dataclasses
from pathlib import Path
from typing import Any

import pytest

from knee.health import downloads
from knee.intake import manifest
from knee.run import parameters
from stages import check
from tests.films import fill, settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images, a sheet, masks and weights of one backbone."""
    names = ("images/a/1.png", "masks/a/1.png", "weights/mobilenet.h5")
    return fill(tmp_path, dict.fromkeys(names, b"x") | {"sheet.csv": b"path,label\n"})


def checked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, weights: str = "none", **data: Any
) -> int:
    """The exit status of the stage."""
    paths = {"path": "images", "sheet": "sheet.csv", "bone_masks": "masks"}
    given = {key: str(folder / name) for key, name in paths.items()}
    made = settings(**{"generators": (), **given, **data})
    names = ("mobilenet",)
    model = dataclasses.replace(made.model, backbones=names, candidates=names)
    made = dataclasses.replace(made, weights=weights, model=model)
    monkeypatch.setattr(parameters, "load", lambda _: made)
    return check.main([f"--checked-out={folder / 'checked.json'}"])


def test_the_output_is_the_same_whatever_was_checked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "announce", lambda _: "")
    contents = set()
    for weights in ("none", "imagenet", str(folder / "weights")):
        assert checked(folder, monkeypatch, weights) == 0
        contents.add((folder / "checked.json").read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize("key", ["path", "sheet", "bone_masks"])
def test_a_missing_path_is_one_line_that_names_its_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    assert checked(folder, monkeypatch, **{key: "/nowhere"}) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"check: data.{key}: '/nowhere' does not exist: give ")
    assert error.count("\n") == 1
    assert not (folder / "checked.json").exists()


def test_a_sheet_without_a_path_column_is_told_before_anything_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "sheet.csv").write_text("file,label\n1.png,a\n")
    assert checked(folder, monkeypatch) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"check: data.sheet: {folder / 'sheet.csv'} has no column path")
    assert error.count("\n") == 1


def test_a_sheet_of_films_may_have_a_label_a_side(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "sheet.csv").write_text("path,label_left,label_right\n1.png,a,b\n")
    no_masks = "conf/no_bone_masks"
    assert checked(folder, monkeypatch, locators=("knees",), bone_masks=no_masks) == 0
    assert checked(folder, monkeypatch, locators=("knees",)) == 1  # with masks of whole films
    assert "give -S data.bone_masks=conf/no_bone_masks" in capsys.readouterr().err


def test_parameters_that_do_not_follow_from_each_other_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked(folder, monkeypatch, images="elsewhere") == 1
    assert "edit conf, not params.yaml, and run make params" in capsys.readouterr().err


def test_a_manifest_that_is_none_is_told_before_anything_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = folder / "manifest.csv"
    given.write_text("path,bytes\na/1.png,1\n")
    assert checked(folder, monkeypatch, manifest=str(given)) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"check: data.manifest: {given} is no manifest: make one by python -m")
    given.unlink()
    manifest.make(folder / "images", given)
    assert checked(folder, monkeypatch, manifest=str(given)) == 0


def test_a_manifest_of_films_is_refused_where_ingest_reads_their_knees(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest.make(folder / "images", folder / "manifest.csv")
    given = {"manifest": str(folder / "manifest.csv"), "bone_masks": "conf/no_bone_masks"}
    assert checked(folder, monkeypatch, **given) == 0
    assert checked(folder, monkeypatch, locators=("knees",), **given) == 1
    assert "leave it out with locate=knees" in capsys.readouterr().err


def test_weights_that_cannot_be_downloaded_do_not_stop_what_may_not_need_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr("urllib.request.urlopen", refused)
    monkeypatch.setenv("KERAS_HOME", str(folder))
    assert checked(folder, monkeypatch, "imagenet") == 0
    assert "17 MB" in caplog.text


def test_a_folder_without_the_weights_is_found_before_anything_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked(folder, monkeypatch, str(folder)) == 1
    assert capsys.readouterr().err.startswith(f"check: weights: {folder}/mobilenet.h5 does not")


@pytest.mark.parametrize("made", [{"generators": ("sample",)}, {"downloads": ("kaggle",)}])
def test_what_earlier_stages_make_need_not_be_there_yet(
    folder: Path, monkeypatch: pytest.MonkeyPatch, made: dict[str, Any]
) -> None:
    dataset = {"dataset": "owner/knees/versions/3"}
    assert checked(folder, monkeypatch, path="data/nowhere", **dataset, **made) == 0


def test_images_of_ones_own_are_never_taken_for_the_synthetic_sample(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked(folder, monkeypatch, generators=("sample",)) == 1
    assert "is not where the data set sample is made: " in capsys.readouterr().err
