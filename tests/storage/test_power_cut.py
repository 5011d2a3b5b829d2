"""A power cut leaves a file as it was or as it will be."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from knee.storage import artifacts, row_files
from tests import shards


def test_what_takes_a_place_is_on_the_disk_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        seen.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        seen.append(f"{self.name} -> {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    artifacts.write_text(tmp_path / "a.txt", "a")
    assert seen == [".a.staged.txt", ".a.staged.txt -> a.txt", tmp_path.name]
    seen.clear()
    with artifacts.staged_folder(tmp_path / "out") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "b.txt").write_text("b")
        (folder / "nowhere").symlink_to("gone")
    assert seen == [".out.staged", "deep", "b.txt", ".out.staged -> out", tmp_path.name]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO, errno.ENOSPC])
def test_a_disk_that_cannot_write_is_an_error_and_one_that_cannot_wait_is_none(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")

    def refused(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refused)
    if number in artifacts.UNSUPPORTED:
        artifacts.write_text(file, "new")
        assert file.read_text() == "new"
        return
    with pytest.raises(OSError, match=r"a\.txt"):
        artifacts.write_text(file, "new")
    with pytest.raises(OSError, match="out"), artifacts.staged_folder(tmp_path / "out"):
        pass
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("length", [0, 5, 10, 40, 100, 128, 150])
def test_a_cut_array_is_one_message(length: int, tmp_path: Path) -> None:
    shards.save(tmp_path / "rows", np.ones((3, 4, 4), np.uint8))
    file = tmp_path / "rows" / "00000.npy"
    cut = file.read_bytes()[:length]
    for content in (cut, cut[:100].ljust(176, b"\0")):  # short, or of the right size with zeros
        file.write_bytes(content)
        with pytest.raises(artifacts.ArtifactError, match=r"00000\.npy is no"):
            row_files.RowFile(tmp_path / "rows", has_views=False)
        with pytest.raises(artifacts.ArtifactError, match=r"00000\.npy is no"):
            row_files.PixelFile(tmp_path / "rows", np.array([0]))
