"""dvc.lock is written quickly, as dvc writes it, and whole."""

from __future__ import annotations

import errno
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from dvc import dvcfile

from knee.health import lock_file
from knee.run import locks
from knee.storage import artifacts

VALUES = [1e-05, 1e30, True, None, "1e-05", "yes", "1:30", "010", "null", "", "größer", "a\nb"]

STAGE: dict[str, Any] = {
    "cmd": "python -m stages.sample --images-out data/sample/images --bone-masks-out "
    "data/sample/bone_masks --truth-out data/sample/truth.json"
}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the lock file of a project is; dvc writes it quickly from now on."""
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    monkeypatch.setattr(dvcfile, "modify_yaml", dvcfile.modify_yaml)  # put back afterwards
    lock_file.write_quickly(tmp_path / "dvc.lock")
    return tmp_path / "dvc.lock"


def change(file: Path, stages: dict[str, Any]) -> None:
    with dvcfile.modify_yaml(str(file)) as content:
        content.setdefault("schema", "2.0")
        content.setdefault("stages", {}).update(stages)


def test_it_is_the_file_of_dvc_once_its_lines_are_broken(file: Path) -> None:
    named: dict[str, Any] = {str(value): [value, {"b": value, "a": {}}] for value in VALUES}
    shared = OrderedDict(path="data/zürich", md5="0" * 32, size=1)
    one: dict[str, Any] = OrderedDict(STAGE, deps=[])
    two = {**one, "params": {"params.yaml": named}, "outs": [shared, shared]}
    by_dvc = file.with_name("elsewhere.lock")
    written: list[dict[str, Any]] = [{"one@a": one}, {"two": two}, {"one@a": STAGE}]
    for stages in written:
        change(file, stages)
        change(by_dvc, stages)
    lock_file.rewrap(file)
    assert file.read_text(encoding="utf-8") == by_dvc.read_text(encoding="utf-8")
    assert "zürich" in file.read_text(encoding="utf-8")
    assert {left.name for left in file.parent.iterdir()} == {".dvc", file.name, by_dvc.name}


def test_an_empty_one_is_begun_anew(file: Path) -> None:
    file.touch()
    change(file, {"one": STAGE})
    assert "one" in file.read_text()


def test_one_behind_a_link_stays_there(file: Path, tmp_path: Path) -> None:
    file.symlink_to(tmp_path / "real.lock")
    change(file, {"one": STAGE})
    lock_file.rewrap(file)
    assert file.is_symlink()
    assert "one" in (tmp_path / "real.lock").read_text()


def test_what_goes_wrong_while_it_is_written_leaves_the_old_one(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: Path, __: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(file))

    change(file, {"one": STAGE})
    before = file.read_bytes()
    monkeypatch.setattr(artifacts, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        change(file, {"two": STAGE})
    lock_file.rewrap(file)  # a warning, for the stages have ended well
    assert "No space left on device" in caplog.text
    assert file.read_bytes() == before


@pytest.mark.parametrize("content", ["", "<<<<<<< HEAD\nschema: '2.0'\n"])
def test_lines_of_what_is_no_lock_file_are_left_alone(file: Path, content: str) -> None:
    file.write_text(content)
    lock_file.rewrap(file)
    assert file.read_text() == content


def test_lines_are_left_alone_while_another_dvc_is_at_work(file: Path) -> None:
    change(file, {"one": STAGE})
    before = file.read_bytes()
    with locks.held(file.parent / ".dvc" / "tmp" / "lock", "the project"):
        lock_file.rewrap(file)
    assert file.read_bytes() == before
    lock_file.rewrap(file)
    assert file.read_bytes() != before
