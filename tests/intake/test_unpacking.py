from collections.abc import Callable
from pathlib import Path

import pytest

from knee.intake.archives import ArchiveError, ArchiveLimits
from tests.intake.packing import FORMATS, Members, tarred, unpacked, zipped

FILES = {"a/1": b"one", "a/deep/2": b"two", "b/3": b"three"}


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_more_members_than_the_limit_are_refused(
    tmp_path: Path, pack: Callable[[Members], bytes]
) -> None:
    with pytest.raises(ArchiveError, match=r"more than ingest\.maximum_archive_files = 2"):
        unpacked(tmp_path, pack(FILES), ArchiveLimits(files=2, gigabytes=1))


@pytest.mark.parametrize("name", FORMATS)
def test_more_bytes_than_the_limit_are_refused(tmp_path: Path, name: str) -> None:
    content = FORMATS[name]({"a/1": bytes(600_000), "a/2": bytes(600_000)})
    with pytest.raises(ArchiveError, match=r"more than ingest\.maximum_archive_gigabytes = 0\.001"):
        unpacked(tmp_path, content)


@pytest.mark.parametrize("name", ["films.zip", "films.tar.gz"])
def test_a_bomb_is_refused_by_its_ratio(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knee.intake.archives.RATIO_GRACE_BYTES", 1000)
    content = FORMATS[name]({"a/1": bytes(900_000)})
    with pytest.raises(ArchiveError, match="200 times its size"):
        unpacked(tmp_path, content)


def test_too_little_room_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("usage", (), {"free": 400})())
    with pytest.raises(ArchiveError, match="set TMPDIR"):
        unpacked(tmp_path, zipped({"a/1": bytes(10_000)}))
    assert list((tmp_path / "inside" / "unpacked").iterdir()) == []
