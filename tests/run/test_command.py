"""What all stages' command lines do alike."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from knee.run import command, locks, parameters
from knee.run.errors import UserError

ROOT = Path(__file__).parents[2]


class MistakeError(UserError):
    """Of a stage's user."""


@dataclasses.dataclass(frozen=True)
class Paths:
    rows_out: Path = command.flag("training rows")


@dataclasses.dataclass(frozen=True)
class ItemPaths:
    backbone: str = command.flag("name")
    rows_out: Path = command.flag("training rows")


def words(folder: Path, **more: str) -> list[str]:
    given = {"params": ROOT / "params.yaml", "rows-out": folder / "rows.csv", **more}
    return [f"--{name}={value}" for name, value in given.items()]


def test_a_stage_gets_its_parameters_and_paths(tmp_path: Path) -> None:
    seen = []

    def run(settings: parameters.Params, paths: Paths) -> None:
        seen.append((settings.train.seed, paths))

    assert command.stage("split", "x", Paths, run)(words(tmp_path)) == 0
    seed = parameters.load(ROOT / "params.yaml").train.seed
    assert seen == [(seed, Paths(tmp_path / "rows.csv"))]


def test_only_a_stage_that_is_told_so_leaves_the_cores_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    monkeypatch.setattr(os, "nice", given.append)
    for told in ("", "0", "1"):
        monkeypatch.setenv(command.GIVES_WAY, told)
        assert command.stage("split", "x", Paths, nothing)(words(tmp_path)) == 0
    assert given == [command.LEAST_URGENT]
    assert command.GIVES_WAY not in os.environ, "its own processes inherit the rank itself"


def test_help_explains_each_flag_and_a_missing_one_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        command.stage("train", "Train.", ItemPaths, nothing)(["--help"])
    assert "--rows-out ROWS_OUT" in (shown := capsys.readouterr().out)
    assert "training rows" in shown
    with pytest.raises(SystemExit):
        command.stage("train", "Train.", ItemPaths, nothing)(["--backbone=a"])
    assert "required: --rows-out" in capsys.readouterr().err


def test_a_repeated_flag_becomes_a_tuple(tmp_path: Path) -> None:
    @dataclasses.dataclass(frozen=True)
    class Several:
        rows_out: Path = command.flag("training rows")
        also: tuple[int, ...] = command.repeated_flag("numbers", int)

    seen: list[tuple[int, ...]] = []

    def run(_: parameters.Params, paths: Several) -> None:
        seen.append(paths.also)

    for more in ([], ["--also=1", "--also=2"]):
        assert command.stage("split", "x", Several, run)([*words(tmp_path), *more]) == 0
    assert seen == [(), (1, 2)]


def nothing(*_: object) -> None:
    """A stage that makes nothing."""


def test_a_users_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*_: object) -> None:
        raise MistakeError("records.csv: no such column")

    assert command.stage("split", "x", Paths, run)(words(tmp_path)) == 1
    assert capsys.readouterr().err == "split: records.csv: no such column\n"


def test_ctrl_c_is_one_line_and_the_status_that_shells_know(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert command.exit_status("train", interrupted) == 128 + signal.SIGINT
    assert capsys.readouterr().err == "train: interrupted\n"


def test_a_mistake_of_ours_keeps_its_traceback(tmp_path: Path) -> None:
    def run(*_: object) -> None:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - it has no message
        command.stage("split", "x", Paths, run)(words(tmp_path))


def test_a_full_disk_is_one_line_that_names_the_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: parameters.Params, paths: Paths) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(paths.rows_out))

    assert command.stage("split", "x", Paths, run)(words(tmp_path)) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"split: {tmp_path / 'rows.csv'}: No space left on device: free some")
    assert said.count("\n") == 1


def start(run: Callable[[parameters.Params, ItemPaths], None], folder: Path, backbone: str) -> int:
    return command.stage("train", "x", ItemPaths, run)(words(folder, backbone=backbone))


def test_two_items_of_a_stage_run_at_once_but_one_item_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    held = locks.held
    monkeypatch.setattr(locks, "held", lambda path, what: held(path, what, grace_seconds=0))
    codes = []

    def outer(*_: object) -> None:
        for backbone in ("mobilenet", "xception"):
            codes.append(start(inner, tmp_path, backbone))

    def inner(_: parameters.Params, paths: ItemPaths) -> None:
        paths.rows_out.touch()

    assert start(outer, tmp_path, "mobilenet") == 0
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
    assert command.stage("split", "x", Paths, run)(words(outputs)) == 0
    assert found == [project / ".dvc" / "tmp" / "stages" / "split.lock"]
    assert not list(tmp_path.rglob("*.lock"))


TOLD_TO_END = """
import os, signal, sys, tempfile
from knee.run import command

def work():
    with tempfile.TemporaryDirectory() as folder:
        print(folder, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()

sys.exit(command.exit_status("predict", work))
"""


def test_sigterm_removes_the_temporary_files_of_any_command() -> None:
    # In a process of its own: a signal that is not caught would end that of the tests.
    command = [sys.executable, "-c", TOLD_TO_END]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stdout.strip()
    assert not Path(done.stdout.strip()).exists()
