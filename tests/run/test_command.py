"""What all stages' command lines do alike."""

from __future__ import annotations

import argparse
import errno
from pathlib import Path

import pytest

from knee.run import command, locks, parameters

ROOT = Path(__file__).parents[2]


class MistakeError(ValueError):
    """Of a stage's user."""


def arguments(folder: Path, **more: str) -> argparse.Namespace:
    given = command.parser("x").parse_args(["--params", str(ROOT / "params.yaml")])
    return argparse.Namespace(**vars(given), **more, rows_out=folder / "rows.csv")


def test_a_stage_gets_its_parameters_and_paths(tmp_path: Path) -> None:
    seen = []

    def run(settings: parameters.Params, *, rows_out: Path) -> None:
        seen.append((settings.train.seed, rows_out))

    assert command.run("split", arguments(tmp_path), command.by_keyword(run)) == 0
    assert seen == [(parameters.load(ROOT / "params.yaml").train.seed, tmp_path / "rows.csv")]


def test_a_users_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*_: object) -> None:
        raise MistakeError("records.csv: no such column")

    assert command.run("split", arguments(tmp_path), run, (MistakeError,)) == 1
    assert capsys.readouterr().err == "split: records.csv: no such column\n"


def test_a_mistake_of_ours_keeps_its_traceback(tmp_path: Path) -> None:
    def run(*_: object) -> None:
        raise MistakeError

    with pytest.raises(MistakeError):
        command.run("split", arguments(tmp_path), run)


def test_a_full_disk_is_one_line_that_names_the_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: parameters.Params, paths: argparse.Namespace) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(paths.rows_out))

    assert command.run("split", arguments(tmp_path), run) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"split: {tmp_path / 'rows.csv'}: No space left on device: free some")
    assert said.count("\n") == 1


def test_two_items_of_a_stage_run_at_once_but_one_item_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    held = locks.held
    monkeypatch.setattr(locks, "held", lambda path, what: held(path, what, grace_seconds=0))
    codes = []

    def outer(*_: object) -> None:
        for backbone in ("mobilenet", "xception"):
            codes.append(command.run("train", arguments(tmp_path, backbone=backbone), inner))

    def inner(_: parameters.Params, paths: argparse.Namespace) -> None:
        paths.rows_out.touch()

    assert command.run("train", arguments(tmp_path, backbone="mobilenet"), outer) == 0
    assert codes == [1, 0]
    assert "train@mobilenet is in use by process" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


@pytest.mark.parametrize("copy", ["", ".dvc/tmp/exps/tmp1"], ids=["project", "experiment"])
def test_the_lock_lies_in_the_private_folder_of_the_project_or_its_copy(
    tmp_path: Path, copy: str
) -> None:
    project = tmp_path / copy
    (tmp_path / ".dvc").mkdir()
    (project / ".dvc").mkdir(parents=True, exist_ok=True)
    found: list[Path] = []

    def run(*_: object) -> None:
        found.extend(tmp_path.rglob("*.lock"))

    outputs = project / "data"
    assert command.run("split", arguments(outputs), run) == 0
    assert found == [project / ".dvc" / "tmp" / "stages" / "split.lock"]
    assert not list(tmp_path.rglob("*.lock"))
