"""The doctor's report and what it ends with; its checks have tests of their own."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from knee.health import machine, result
from knee.health.project import Project
from knee.health.result import Result
from knee.run import parameters
from stages import doctor
from tests.health.conftest import finished, root  # noqa: F401  # fixtures
from tests.health.faults import flip_a_bit

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    """A finished project with this one's settings and pins."""
    for name in ("params.yaml", "pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, root / name)
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(machine, "drift", lambda _: [])
    return root


def run(*arguments: str) -> int:
    return doctor.main(arguments)


def lines(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Check -> status, of the report."""
    found = {}
    for line in capsys.readouterr().out.splitlines():
        status, check = line[:8].strip(), line[8 : result.INDENT].strip()
        if status in ("ok", "mended", "fault"):
            found[check] = status
    return found


def test_a_healthy_project_ends_with_0(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(clone)
    assert run() == 0
    assert set(lines(capsys).values()) == {"ok"}
    assert contents(clone) == before


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".dvc/tmp" not in str(path)
    }


def an_object(folder: Path) -> Path:
    objects = sorted((folder / ".dvc" / "cache" / "files" / "md5").rglob("*"))
    return next(path for path in objects if path.is_file())


def test_every_planted_fault_has_its_own_line_and_is_mended(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = {"DVC's notes", "cache objects", "remotes"}
    (clone / ".dvc" / "tmp" / "rwlock").write_text("{")
    flip_a_bit(an_object(clone))
    with (clone / ".dvc" / "config").open("a") as file:
        file.write("['remote \"shared\"']\n    url = /tmp/shared\n")
    assert run() == 1
    found = lines(capsys)
    assert {check for check, status in found.items() if status == "fault"} == planted
    assert run("--mend") == 0
    found = lines(capsys)
    assert {check for check, status in found.items() if status == "mended"} == planted
    assert run() == 0


def test_settings_and_pipelines_that_cannot_be_read_are_lines(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (clone / "params.yaml").write_text("weights: none\nwieghts: x\n")
    (clone / "dvc.yaml").write_text("stages: [\n")
    assert run() == 1
    captured = capsys.readouterr()
    assert "unknown key wieghts" in captured.out
    assert "the pipeline cannot be read" in captured.out
    assert "Traceback" not in captured.out + captured.err


@pytest.mark.parametrize(
    "lock", ["lock", "stages/train@xception.lock", "exps/tmp1/.dvc/tmp/stages/train.lock"]
)
def test_nothing_is_mended_while_somebody_is_at_work(
    clone: Path, capsys: pytest.CaptureFixture[str], lock: str
) -> None:
    flip_a_bit(damaged := an_object(clone))
    held = clone / ".dvc" / "tmp" / lock
    held.parent.mkdir(parents=True, exist_ok=True)
    with held.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert run("--mend") == 1
    assert damaged.exists()
    assert f"nothing is mended now: process {os.getpid()} holds" in capsys.readouterr().out


def test_a_folder_without_dvc_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run() == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("doctor: ")
    assert len(captured.err.splitlines()) == 1


def test_a_check_that_fails_is_a_fault_and_ends_no_other() -> None:
    def broken() -> Result:
        raise OSError("disk\nfailed")

    found = result.guarded(broken, mend=False)
    assert (found.status, found.found) == ("fault", "could not be checked: OSError: disk")


def test_the_report_is_aligned_short_and_free_of_control_characters() -> None:
    names = tuple(f"file {number}\x1b[2J" for number in range(20))
    shown = result.text("cache", Result("fault", "word " * 60, "do this " * 30, names))
    assert max(len(line) for line in shown.splitlines()) <= result.WIDTH
    assert "\x1b" not in shown
    assert "and 12 more" in shown
    assert all(line.startswith(" " * result.INDENT) for line in shown.splitlines()[1:])


def test_there_are_nineteen_checks(clone: Path) -> None:
    settings = parameters.load(clone / "params.yaml")
    assert len(doctor.looks(Project(clone), settings)) == 19
