"""Whole films become files of one knee, which ingest can take in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from knee.intake import label_sheet, labels, patients, record_builder
from knee.intake.archives import DataFolder
from knee.intake.examination import Examiner
from knee.location import cropping
from knee.reading.canonical_image import Canonical
from stages import locate
from tests.films import PARAMS, encoded, fill
from tests.location.legs import bilateral, drawn
from tests.reading.dicom_files import dicom

KEY = patients.key_from_environment()
CLASSES = ("0", "3", "4")
WHO = ("Normal", "Osteopenia", "Osteoporosis")


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What becomes of a film of two knees, a DICOM film of one, noise and a damaged file."""
    folder = tmp_path_factory.mktemp("locate")
    noise = np.random.default_rng(0).integers(0, 256, (90, 120), dtype=np.uint8)
    leg = drawn()[1].pixels
    fill(
        folder / "films",
        {
            "in/both.png": encoded(Image.fromarray(bilateral())),
            "one.dcm": dicom(leg.astype(np.uint16) * 16, PatientID="P7", Laterality="R"),
            "noise.png": encoded(Image.fromarray(noise)),
            "damaged.png": b"\x89PNG",
            "other.png": encoded(Image.fromarray(leg)),
        },
    )
    (folder / "films.csv").write_text(
        "path,label,label_left,label_right,patient\nin/both,,3,4,P1\none.dcm,0,,,\n"
        "noise.png,0,,,\ndamaged.png,0,,,\nabsent.png,0,,,\n"
    )
    words = [str(folder / "films"), "--out", str(folder / "out"), "--params", str(PARAMS)]
    assert locate.main([*words, "--sheet", str(folder / "films.csv")]) == 0
    return folder / "out"


def knees(cut: Path) -> pd.DataFrame:
    """The rows of the sheet that have an image."""
    sheet = pd.read_csv(cut / "knees.csv", dtype=str, keep_default_na=False)
    return sheet[sheet["no_image_reason"] == ""]


def test_every_film_is_in_the_table_with_its_knees_or_the_reason(cut: Path) -> None:
    films = pd.read_csv(cut / "films.csv", keep_default_na=False).set_index("film")
    assert films["knees"].to_dict() == {
        "damaged.png": 0, "in/both.png": 2, "noise.png": 0, "one.dcm": 1, "other.png": 0,
        "absent.png": 0,
    }  # fmt: skip
    assert films.loc["noise.png", "reason"] == "no knee was found"
    assert films.loc["other.png", "reason"] == "no row in the sheet"
    assert films.loc["absent.png", "reason"] == "the sheet's file does not exist"
    assert films.loc["damaged.png", "reason"] != ""
    assert (films.loc[films["knees"] > 0, "reason"] == "").all()


def test_each_knee_is_a_square_with_its_own_label_side_and_box(cut: Path) -> None:
    sheet = knees(cut).set_index("path")
    assert sheet["label"].to_dict() == {
        "in/right/both.png": "4", "in/left/both.png": "3", "one.png": "0",
    }  # fmt: skip
    assert sheet["side"].tolist() == ["right", "left", "right"]
    film = bilateral()
    for path, row in sheet.iloc[:2].iterrows():
        pixels = np.asarray(Image.open(cut / "images" / str(path)))
        side, left, top = (int(row[f"box_{name}"]) for name in ("side_pixels", "left", "top"))
        assert pixels.shape == (side, side)
        x, y = side // 2, side // 2
        assert pixels[y, x] == film[top + y, left + x]


def test_the_knees_of_a_film_are_of_one_patient_without_the_number(cut: Path) -> None:
    text = (cut / "knees.csv").read_text()
    assert "P1" not in text
    assert "P7" not in text
    sheet = knees(cut)
    both = patients.hashed("P1", KEY)
    assert sheet["patient"].tolist() == [both, both, patients.hashed("P7", KEY)]


def test_ingest_takes_them_in_with_their_labels_and_the_others_with_their_reasons(
    cut: Path, tmp_path: Path
) -> None:
    opened = DataFolder(cut / "images", cut / "images")
    sheet = label_sheet.read_sheet(cut / "knees.csv", CLASSES, KEY)
    listing = labels.list_labelled(opened, sheet, CLASSES)
    canonical = Canonical(32, "letterbox", 64.0)
    frame, prints = record_builder.take_in(listing, Examiner(canonical, KEY), tmp_path / "pixels")
    used = frame[frame["status"] == "used"]
    assert used["label"].tolist() == ["3", "4", "0"]
    assert len(prints) == len(used)
    rejected = frame[frame["status"] == "rejected"].set_index("source")["reason"]
    assert set(rejected.index) == {"absent.png", "damaged.png", "noise.png"}
    assert rejected["noise.png"] == "no knee was found"


def test_the_table_tells_by_what_each_film_has_its_scale(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    film = bilateral().astype(np.uint16) * 16
    fill(
        tmp_path / "films",
        {
            "calibrated.dcm": dicom(film, PixelSpacing=["1.2"] * 2, ImagerPixelSpacing=["1.3"] * 2),
            "detector.dcm": dicom(film, ImagerPixelSpacing=["1.3"] * 2),
            "plain.png": encoded(Image.fromarray(bilateral())),
            "wrong.dcm": dicom(film, PixelSpacing=["0.01"] * 2),
        },
    )
    words = [str(tmp_path / "films"), "--out", str(tmp_path / "out"), "--params", str(PARAMS)]
    with caplog.at_level("INFO"):
        assert locate.main([*words, "--box-millimetres", "140"]) == 0
    films = pd.read_csv(tmp_path / "out" / "films.csv", keep_default_na=False).set_index("film")
    assert films["scale"].to_dict() == {
        "calibrated.dcm": "millimetres (patient plane)",
        "detector.dcm": "millimetres (detector plane)",
        "plain.png": "joint widths",
        "wrong.dcm": "joint widths",
    }
    assert "joint widths 2, millimetres (detector plane) 1" in caplog.text
    sheet = pd.read_csv(tmp_path / "out" / "knees.csv", keep_default_na=False).set_index("path")
    assert sheet.loc["left/calibrated.png", "box_side_pixels"] == round(140 / 1.2)
    assert sheet.loc["left/plain.png", "film_note"] == cropping.NO_SPACING
    assert sheet.loc["left/wrong.png", "film_note"] == cropping.WRONG_SPACING
    assert locate.main([*words, "--box-millimetres", "40"]) == 1


def test_the_t_scores_of_a_sheet_of_films_reach_the_labels_of_its_knees(tmp_path: Path) -> None:
    fill(tmp_path / "films", {"-1.png": encoded(Image.fromarray(bilateral()))})
    (tmp_path / "films.csv").write_text("path,t_score\n-1.png,-2.5\n")
    words = [str(tmp_path / "films"), "--out", str(tmp_path / "out"), "--params", str(PARAMS)]
    assert locate.main([*words, "--sheet", str(tmp_path / "films.csv")]) == 0
    rows = label_sheet.read_sheet(tmp_path / "out" / "knees.csv", WHO, KEY).rows
    assert [row.path for row in rows] == ["right/-1.png", "left/-1.png"]
    assert {(row.label, row.facts["t_score"]) for row in rows} == {("Osteoporosis", -2.5)}


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The sheet of the knees of three films of like names, with ages."""
    folder = tmp_path_factory.mktemp("alike")
    film = encoded(Image.fromarray(drawn()[1].pixels))
    fill(folder / "films", dict.fromkeys(("1.png", "1.jpg", "1.png.png"), film))
    (folder / "films.csv").write_text("path,age\n1.png,94\n1.jpg,89\n1.png.png,old\n")
    words = [str(folder / "films"), "--out", str(folder / "out"), "--params", str(PARAMS)]
    assert locate.main([*words, "--sheet", str(folder / "films.csv")]) == 0
    return pd.read_csv(folder / "out" / "knees.csv", dtype=str).set_index("film")


def test_no_knee_takes_the_place_of_another_films(alike: pd.DataFrame) -> None:
    assert {*alike.index} == {"1.png", "1.jpg", "1.png.png"}
    assert alike["path"].is_unique


def test_an_age_that_would_identify_is_not_in_the_sheet_of_the_knees(alike: pd.DataFrame) -> None:
    assert alike["age"].to_dict() == {"1.png": "90", "1.jpg": "89", "1.png.png": "old"}


def test_films_in_the_folder_that_is_replaced_are_left_alone(
    cut: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(cut / "images"), "--out", str(cut), "--params", str(PARAMS)]
    assert locate.main(words) == 1
    assert f"{cut / 'images'} lies in {cut}, which is replaced" in capsys.readouterr().err
    assert (cut / "images" / "one.png").is_file()


def test_a_sheet_may_label_one_knee_of_a_film_and_the_other_is_left_out(tmp_path: Path) -> None:
    fill(tmp_path / "films", {"both.png": encoded(Image.fromarray(bilateral()))})
    (tmp_path / "films.csv").write_text("path,label_left\nboth.png,3\n")
    words = [str(tmp_path / "films"), "--out", str(tmp_path / "out"), "--params", str(PARAMS)]
    assert locate.main([*words, "--sheet", str(tmp_path / "films.csv")]) == 0
    sheet = pd.read_csv(tmp_path / "out" / "knees.csv")
    assert sheet[["path", "label"]].to_numpy().tolist() == [["left/both.png", 3]]
    (note,) = pd.read_csv(tmp_path / "out" / "films.csv")["note"]
    assert note.startswith("the sheet does not label each knee of it, or a side")


def test_knees_that_would_have_one_name_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "films", {"a/1.png": b"x", "a/left/1.dcm": b"x"})
    words = [str(tmp_path / "films"), "--out", str(tmp_path / "out"), "--params", str(PARAMS)]
    assert locate.main(words) == 1
    error = capsys.readouterr().err
    assert "'a/left/1.dcm' has the name that the left knee of 'a/1.png' would have" in error
    assert not (tmp_path / "out").exists()


def test_films_that_the_rule_of_the_run_does_not_take_are_not_searched(tmp_path: Path) -> None:
    film = bilateral().astype(np.uint16) * 16
    parts = {"chest.dcm": "CHEST", "knee.dcm": "KNEE"}
    films = {name: dicom(film, BodyPartExamined=part) for name, part in parts.items()}
    fill(tmp_path / "films", films)
    values = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    values["ingest"]["body_parts"] = ["KNEE"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    words = [str(tmp_path / "films"), "--out", str(tmp_path / "out")]
    assert locate.main([*words, "--params", str(tmp_path / "params.yaml")]) == 0
    table = pd.read_csv(tmp_path / "out" / "films.csv", keep_default_na=False).set_index("film")
    assert table["knees"].to_dict() == {"chest.dcm": 0, "knee.dcm": 2}
    assert table.loc["chest.dcm", "reason"] == "its body part CHEST is none of ingest.body_parts"


@pytest.mark.parametrize(
    ("name", "said"),
    [("nowhere", "does not exist: give the folder of films"), ("1.txt", "is no folder and no zip")],
)
def test_films_that_are_not_there_are_told_by_the_path_that_was_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    (tmp_path / "1.txt").write_text("x")
    given = tmp_path / name
    assert locate.main([str(given), "--out", str(tmp_path / "out"), "--params", str(PARAMS)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"locate: {given} {said}")
    assert "data.path" not in error


def test_a_folder_without_knees_ends_with_a_line_that_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path / "films", {"a/1.png": b"x"})
    words = [str(tmp_path / "films"), "--out", str(tmp_path / "out"), "--params", str(PARAMS)]
    assert locate.main(words) == 1
    assert "no film gave an image of a knee" in caplog.text


def test_what_is_cut_does_not_lie_among_the_films(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "films", {"a/1.png": b"x"})
    out = tmp_path / "films" / "out"
    assert locate.main([str(out.parent), "--out", str(out), "--params", str(PARAMS)]) == 1
    assert "whose films it cuts" in capsys.readouterr().err
    assert not out.exists()


def test_another_folder_is_not_replaced(cut: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    words = [str(cut / "images"), "--out", str(tmp_path), "--params", str(PARAMS)]
    assert locate.main(words) == 1
    assert (tmp_path / "mine.txt").is_file()
    assert (
        locate.main([str(cut / "images"), "--out", str(tmp_path / "x"), "--box-widths", "9"]) == 1
    )
    # 0 is no wish for the default.
    assert (
        locate.main([str(cut / "images"), "--out", str(tmp_path / "x"), "--box-widths", "0"]) == 1
    )
