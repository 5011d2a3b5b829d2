"""Images of one's own become the project's data by one command, or nothing changes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from knee.run import overrides, parameters
from stages import films
from tests.films import fill

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with its configuration, and images beside it."""
    shutil.copytree(ROOT / "conf", tmp_path / "project" / "conf")
    files = {
        "films/a/1.png": b"x",
        "films/b/1.png": b"x",
        "w/mobilenet.h5": b"",
        "w/xception.h5": b"",
    }
    fill(tmp_path, {**files, "sheet.csv": b"path,label\na/1.png,a\n"})
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def contents(project: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in project.rglob("*.yaml")}


def test_one_command_makes_them_the_data_of_every_later_one(project: Path) -> None:
    assert films.main(["--data", "../films", "--weights", "../w"]) == 0
    read = parameters.load(project / "params.yaml")
    assert (read.data.path, read.weights) == (
        str(project / ".." / "films"),
        str(project / ".." / "w"),
    )
    assert not read.data.synthetic
    assert read.register.model_name == "knee-bone-health-mine"
    again = overrides.checked(project / "conf", ["model=xception"])  # as dvc exp run
    assert again.data == read.data
    assert again.model.backbones == ("xception",)


def test_whole_films_are_cut_from_then_on_until_it_is_said_otherwise(project: Path) -> None:
    assert films.main(["--data", "../films", "--weights", "none"]) == 0
    read = parameters.load(project / "params.yaml")
    assert (read.locate.locators, read.locate.images) == ((), read.data.path)
    for _ in range(2):
        words = ["--locate", "knees"] if not read.locate.locators else []
        assert films.main(words) == 0
        read = parameters.load(project / "params.yaml")
        assert read.locate.locators == ("knees",)
        assert (read.locate.images, read.locate.sheet) == (
            "data/knees/images",
            "data/knees/knees.csv",
        )
        assert read.data.path.endswith("films")
    assert films.main(["--locate", "none"]) == 0
    assert parameters.load(project / "params.yaml").locate.images == read.data.path


def test_what_is_not_given_again_stays_with_the_users_edits(project: Path) -> None:
    assert films.main(["--data", "../films", "--weights", "none"]) == 0
    mine = project / "conf" / "data" / "mine.yaml"
    mine.write_text(
        mine.read_text().replace("patient_pattern: ''", r"patient_pattern: '^(?P<patient>\d)'")
    )
    assert films.main(["--sheet", "../sheet.csv"]) == 0
    data = parameters.load(project / "params.yaml").data
    assert data.path.endswith("films")
    assert data.sheet.endswith("sheet.csv")
    assert data.patient_pattern == r"^(?P<patient>\d)"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give the folder or archive of your images: make films DATA="),
        (["--data", "/nowhere"], "data.path: '/nowhere' does not exist: give "),
        (
            ["--data", "../films", "--weights", "/nowhere"],
            "weights: /nowhere/mobilenet.h5 does not",
        ),
        (["--data", "../films", "--sheet", "conf/config.yaml"], "data.sheet: "),
        (["--data", "../films"], "storage.googleapis.com cannot be reached"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    project: Path,
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr("urllib.request.urlopen", refused)
    monkeypatch.setenv("KERAS_HOME", str(project))
    before = contents(project)
    assert films.main(words) == 1
    error = capsys.readouterr().err
    assert error.startswith("films: ")
    assert message in error
    assert error.count("\n") == 1
    assert contents(project) == before
