import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from knee.intake import inputs
from knee.intake.inputs import InputError


def listen(folder: Path) -> None:
    before = Path.cwd()
    os.chdir(folder)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("socket")
    finally:
        os.chdir(before)


ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "broken link": (lambda a: (a / "x").symlink_to("/nowhere"), "'a/x' (broken link)"),
    "link to itself": (lambda a: (a / "x").symlink_to("x"), "'a/x' (link to itself)"),
    "named pipe": (lambda a: os.mkfifo(a / "x"), "'a/x' (not a regular file)"),
    "socket": (listen, "'a/socket' (not a regular file)"),
    "endless device": (lambda a: (a / "x").symlink_to("/dev/zero"), "'a/x' (not a regular file)"),
    "file of DVC": (lambda a: (a / ".dvcignore").touch(), "'a/.dvcignore' (DVC takes it"),
    "name in a code page": (
        lambda a: os.close(os.open(os.fsencode(a) + b"/kn\xe9e.png", os.O_CREAT)),
        "knxe9e.png' (its name is not UTF-8)",
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_what_dvc_cannot_hash_is_named_with_its_key(tmp_path: Path, case: str) -> None:
    make, message = ODD[case]
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").touch()
    inputs.check("data.path", tmp_path)
    try:
        make(tmp_path / "a")
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    with pytest.raises(InputError) as raised:
        inputs.check("data.path", tmp_path)
    assert str(raised.value).startswith("data.path: DVC hashes ")
    assert message in str(raised.value).replace("\\", "")


def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "locked").touch()
    monkeypatch.setattr(os, "access", lambda *_: False)  # a mode means nothing to root
    with pytest.raises(InputError, match=r"'locked' \(may not be read\)"):
        inputs.check("data.path", tmp_path)


def test_many_entries_are_counted(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}").symlink_to("/nowhere")
    with pytest.raises(InputError, match="and 15 more: remove or rename them"):
        inputs.check("data.path", tmp_path)


def test_what_dvc_can_hash_passes(tmp_path: Path) -> None:
    names = [
        "a/.hidden",
        "a/quo'te.png",
        "a/two\nlines.png",
        "a/back\\slash",
        "a/" + "x" * 250,
        "a/\u6b63",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "b").symlink_to("a")
    inputs.check("data.path", tmp_path)
    inputs.check("data.sheet", tmp_path / "a" / ".hidden")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/nowhere/films", "data.path: '/nowhere/films' does not exist"),
        ("nowhere", "'nowhere' does not exist in .*: give an absolute path"),
        ("/dev/null", "neither a folder nor a file"),
    ],
)
def test_a_path_that_is_not_there_is_named_with_its_key(path: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        inputs.check("data.path", Path(path))
