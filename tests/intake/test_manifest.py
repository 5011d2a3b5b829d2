"""A manifest says what is in a folder; ingest takes nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from knee.intake import inputs, manifest
from knee.storage import provenance
from stages import manifest as command
from tests import shards
from tests.films import GOOD, fill
from tests.trials import Trial

LONG_AGO = 1_600_000_000_000_000_000  # ns
FILES = {
    "b/=1.png": b"formula",
    'a/two "words", one\nline.png': b"odd",
    "a/.hidden": b"",
    "c.txt": b"text",
}


def aged(folder: Path) -> Path:
    """The folder, all its files last changed long ago."""
    for path in folder.rglob("*"):
        os.utime(path, ns=(LONG_AGO, LONG_AGO))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return aged(fill(tmp_path / "films", FILES))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "manifest.csv"


def test_it_has_every_file_in_the_order_of_the_names_but_those_of_systems(
    folder: Path, out: Path
) -> None:
    fill(folder, {"a/.DS_Store": b"x", "__MACOSX/1.png": b"x"})
    assert manifest.make(folder, out) == (4, 4)
    rows = manifest.read(out)
    assert list(rows) == sorted(FILES, key=str.encode)
    for name, content in FILES.items():
        assert rows[name] == (len(content), provenance.fingerprint(folder / name))


def test_an_unchanged_folder_gives_the_same_bytes_and_no_file_is_read(
    folder: Path, out: Path
) -> None:
    manifest.make(folder, out)
    before = out.read_bytes()
    assert manifest.make(folder, out) == (4, 0)
    assert out.read_bytes() == before
    assert manifest.make(folder, out, afresh=True) == (4, 4)
    assert out.read_bytes() == before


def test_only_changed_new_and_renamed_files_are_read(folder: Path, out: Path) -> None:
    manifest.make(folder, out)
    fill(folder, {"c.txt": b"TEXT", "d.txt": b"new"})
    (folder / "b/=1.png").rename(folder / "b/2.png")
    assert manifest.make(folder, out) == (5, 3)
    assert manifest.read(out)["c.txt"] == (4, provenance.fingerprint(folder / "c.txt"))


def test_times_alone_do_not_change_the_manifest(folder: Path, out: Path) -> None:
    manifest.make(folder, out)
    before = out.read_bytes()
    (folder / "c.txt").touch()
    assert manifest.make(folder, out) == (4, 1)
    assert out.read_bytes() == before


def test_a_file_that_has_just_changed_is_read_again(folder: Path, out: Path) -> None:
    (folder / "c.txt").touch()
    manifest.make(folder, out)
    status = (folder / "c.txt").stat()
    (folder / "c.txt").write_bytes(b"TEXT")  # within one tick of a coarse clock
    os.utime(folder / "c.txt", ns=(status.st_atime_ns, status.st_mtime_ns))
    manifest.make(folder, out)
    assert manifest.read(out)["c.txt"][1] == provenance.fingerprint(folder / "c.txt")


def test_what_was_read_before_an_interruption_is_not_read_again(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = provenance.fingerprint

    def broken(path: Path) -> str:
        if path.name == "c.txt":
            raise KeyboardInterrupt
        return whole(path)

    with monkeypatch.context() as patched:
        patched.setattr("knee.storage.provenance.fingerprint", broken)
        with pytest.raises(KeyboardInterrupt):
            manifest.make(folder, out)
    assert not out.exists()
    assert manifest.make(folder, out) == (4, 1)


def test_a_damaged_file_of_hashes_costs_time_alone(folder: Path, out: Path) -> None:
    manifest.make(folder, out)
    before = out.read_bytes()
    out.with_name("manifest.csv.known").write_text("path\nx\n")
    assert manifest.make(folder, out) == (4, 4)
    assert out.read_bytes() == before


def test_what_cannot_be_in_a_manifest_is_named(
    folder: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "link").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    assert command.main([str(folder), f"--out={out}"]) == 1
    error = capsys.readouterr().err
    assert "'link' (broken link)" in error
    assert "'pipe' (not a regular file)" in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("given", "at", "said"),
    [
        ("films", "films/manifest.csv", "lies in"),
        ("films", "labels.csv", "is there already, and no manifest"),
        ("films", "", "is there already, and no manifest"),
        ("nothing", "manifest.csv", "does not exist"),
        ("films/c.txt", "manifest.csv", "an archive needs no manifest"),
        ("empty", "manifest.csv", "has no file"),
    ],
)
def test_no_manifest_of_itself_nor_of_an_archive_nor_of_nothing(
    folder: Path, given: str, at: str, said: str
) -> None:
    (folder.parent / "empty").mkdir()
    (folder.parent / "labels.csv").write_text("path,label\n")
    with pytest.raises(manifest.ManifestError, match=said):
        manifest.make(folder.parent / given, folder.parent / at)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\xff\xfe", b"path,bytes\n", b"path,bytes,sha256\na,1,xy\n"),
        *(b"path,bytes,sha256\n", b"path,bytes,sha256\na,1%030d,%064d\n" % (0, 0)),
    ],
)
def test_what_is_no_manifest_is_refused(out: Path, content: bytes) -> None:
    out.write_bytes(content)
    with pytest.raises(manifest.ManifestError, match="is no manifest: make one"):
        manifest.read(out)


class TestIngest:
    """What ingest does with a manifest."""

    @pytest.fixture
    def films(self, trial: Trial) -> Trial:
        folder = fill(trial.folder / "images", {**GOOD, "Normal/broken.png": b"no image"})
        manifest.make(folder, trial.folder / "manifest.csv")
        return trial

    @staticmethod
    def outputs(trial: Trial) -> Mapping[str, bytes]:
        return {path.name: shards.content(path) for path in (trial.folder / "out").iterdir()}

    def test_outputs_have_the_same_bytes_with_it_and_without(self, films: Trial) -> None:
        assert films.run() == 0, films.error
        without = self.outputs(films)
        assert films.run(manifest="manifest.csv") == 0, films.error
        assert self.outputs(films) == without

    def test_a_file_of_another_size_is_named(self, films: Trial) -> None:
        name = min(GOOD)
        fill(films.folder / "images", {name: b"12"})
        error = films.refused(manifest="manifest.csv")
        assert f"'{name}' has 2 bytes instead of {len(GOOD[name])}" in error
        assert "python -m stages.manifest FOLDER --out MANIFEST" in error

    def test_a_file_of_another_content_is_named(self, films: Trial) -> None:
        name, content = min(GOOD.items())
        fill(films.folder / "images", {name: content[:-1] + b"?"})
        assert f"'{name}' has another content" in films.refused(manifest="manifest.csv")

    def test_a_missing_and_a_new_file_are_named(self, films: Trial) -> None:
        name = min(GOOD)
        (films.folder / "images" / name).rename(films.folder / "images" / "Normal" / "new.png")
        error = films.refused(manifest="manifest.csv")
        assert f"'{name}' is not there" in error
        assert "'Normal/new.png' is not in the manifest" in error

    def test_an_unreadable_file_is_an_error_and_not_a_rejected_row(
        self, films: Trial, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(_: Path) -> bytes:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(Path, "read_bytes", refused)
        assert "cannot be read: Input/output error" in films.refused(manifest="manifest.csv")

    def test_rows_of_the_sheet_without_a_file_and_files_outside_the_parts_are_no_faults(
        self, trial: Trial
    ) -> None:
        folder = trial.folder / "images"
        fill(folder, {f"train/{name}": content for name, content in GOOD.items()})
        fill(folder, {"other/1.png": b"x", "train/.DS_Store": b"x"})
        fill(trial.folder, {"sheet.csv": f"path,side\ntrain/{min(GOOD)},L\nno.png,L\n".encode()})
        manifest.make(folder, trial.folder / "manifest.csv")
        reasons = trial.reasons(sheet="sheet.csv", manifest="manifest.csv", parts=("train",))
        assert list(reasons) == ["no.png"]


def test_dvc_is_not_asked_for_an_archive_with_a_manifest(folder: Path, out: Path) -> None:
    manifest.make(folder, out)
    inputs.check_folder(folder, out)
    with pytest.raises(inputs.InputError, match=r"data\.path: .* is no folder"):
        inputs.check_folder(folder / "c.txt", out)
    with pytest.raises(inputs.InputError, match=r"data\.manifest: .* is no file"):
        inputs.check_folder(folder, folder / "a")
    with pytest.raises(inputs.InputError, match=r"data\.manifest: .* does not exist"):
        inputs.check_folder(folder, folder / "nothing.csv")
