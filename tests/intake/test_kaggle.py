import hashlib
import json
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from knee.intake.kaggle import INSTALL, DownloadError, download
from tests.films import ROOT, fill

FILES = {"Normal/1.png": b"one", "Osteopenia/2.png": b"two"}
PINNED = "owner/knees/versions/3"


@pytest.fixture
def kagglehub(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module that stands for kagglehub, without its function yet."""
    module = types.ModuleType("kagglehub")
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    return module


def gives(module: types.ModuleType, answer: Callable[[str], str]) -> None:
    module.dataset_download = answer  # type: ignore[attr-defined]


def raises(module: types.ModuleType, error: Exception) -> None:
    def answer(_: str) -> str:
        raise error

    gives(module, answer)


def cache(folder: Path) -> Path:
    return folder / "cache" / "owner" / "knees" / "versions" / "3"


def test_files_and_their_record_are_what_was_downloaded(
    tmp_path: Path, kagglehub: types.ModuleType
) -> None:
    asked: list[str] = []

    def answer(handle: str) -> str:
        asked.append(handle)
        return str(fill(cache(tmp_path), FILES))

    gives(kagglehub, answer)
    fill(tmp_path / "files", {"of an earlier version": b""})
    assert download(PINNED, tmp_path / "files", tmp_path / "record.json") == 2
    assert asked == [PINNED]
    found = {path for path in (tmp_path / "files").rglob("*") if path.is_file()}
    assert {p.relative_to(tmp_path / "files").as_posix(): p.read_bytes() for p in found} == FILES
    record = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))
    assert record == {
        "dataset": PINNED,
        "files": [
            {"path": name, "bytes": 3, "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in FILES.items()
        ],
    }


def test_without_a_version_nothing_is_written_and_the_newest_is_named(
    tmp_path: Path, kagglehub: types.ModuleType
) -> None:
    gives(kagglehub, lambda _: str(fill(cache(tmp_path), FILES)))
    with pytest.raises(
        DownloadError, match="set it to owner/knees/versions/3, which is the newest"
    ):
        download("owner/knees", tmp_path / "files", tmp_path / "record.json")
    assert {path.name for path in tmp_path.iterdir()} == {"cache"}


@pytest.mark.parametrize(
    "handle",
    ["", "knees", "owner/knees/3", "owner/knees/versions/0", "a/b/versions/x", "../a", "a b/c"],
)
def test_what_names_no_data_set_is_refused_before_any_request(
    tmp_path: Path, kagglehub: types.ModuleType, handle: str
) -> None:
    raises(kagglehub, AssertionError("asked"))
    with pytest.raises(DownloadError, match="name the data set as owner/name/versions/NUMBER"):
        download(handle, tmp_path / "files", tmp_path / "record.json")


def test_a_missing_package_is_said_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(DownloadError, match="kagglehub is not installed: run ") as raised:
        download(PINNED, tmp_path / "files", tmp_path / "record.json")
    assert str(raised.value).endswith(INSTALL)
    requirement = INSTALL.split("'")[1]
    assert f'"{requirement}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


class ConnectionTimeoutError(OSError):
    """As requests' exceptions are: an OSError without number."""


class UnauthenticatedError(Exception):
    """As kagglehub's own."""


def answered(status: int) -> Exception:
    error = OSError("https://host/path?token=SECRET")
    error.response = types.SimpleNamespace(status_code=status)  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionTimeoutError("SECRET"), r"cannot be reached .*: check the network"),
        (ConnectionError("SECRET"), r"cannot be reached .*: check the network"),
        (answered(403), "accept the data set's terms"),
        (answered(401), "log in"),
        (UnauthenticatedError("SECRET"), "log in"),
        (answered(404), r"no owner/knees/versions/3 .*: check data\.dataset"),
        (answered(503), "status 503: try again later"),
        (OSError(28, "No space left on device", "SECRET"), "stored: No space left on device"),
        (KeyError("SECRET"), r"could not download .* \(KeyError\)"),
    ],
)
def test_what_fails_is_one_line_that_says_what_to_do(
    tmp_path: Path, kagglehub: types.ModuleType, error: Exception, message: str
) -> None:
    raises(kagglehub, error)
    with pytest.raises(DownloadError, match=message) as raised:
        download(PINNED, tmp_path / "files", tmp_path / "record.json")
    assert "SECRET" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_without_a_file_is_refused(tmp_path: Path, kagglehub: types.ModuleType) -> None:
    (tmp_path / "empty").mkdir()
    gives(kagglehub, lambda _: str(tmp_path / "empty"))
    with pytest.raises(DownloadError, match="holds no file"):
        download(PINNED, tmp_path / "files", tmp_path / "record.json")


@pytest.mark.parametrize("name", [b".dvcignore", b"kn\xe9e.png"])
def test_a_file_that_dvc_cannot_keep_is_named(
    tmp_path: Path, kagglehub: types.ModuleType, name: bytes
) -> None:
    gives(kagglehub, lambda _: str(fill(cache(tmp_path), FILES)))
    fill(cache(tmp_path), FILES)
    try:
        Path(os.fsdecode(os.fsencode(cache(tmp_path)) + b"/" + name)).touch()
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    with pytest.raises(DownloadError, match="DVC cannot keep the file '"):
        download(PINNED, tmp_path / "files", tmp_path / "record.json")
    assert not (tmp_path / "files").exists()


def test_a_link_in_a_data_set_is_refused(tmp_path: Path, kagglehub: types.ModuleType) -> None:
    fill(cache(tmp_path), FILES)
    (cache(tmp_path) / "Normal" / "link").symlink_to("/etc/passwd")
    gives(kagglehub, lambda _: str(cache(tmp_path)))
    with pytest.raises(DownloadError, match="is a link"):
        download(PINNED, tmp_path / "files", tmp_path / "record.json")
    assert not (tmp_path / "files").exists()
