"""The cache's objects, remotes and the site cache."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from dvc.repo import Repo

from knee.health import storage
from knee.health.project import Project
from knee.health.result import guarded
from knee.run import locks
from tests.films import fill
from tests.health.faults import dvc_is_content, flip_a_bit


@pytest.fixture
def entered(project: Project) -> Iterator[Project]:
    """The project where others may enter every folder on the way, as on a shared machine."""
    way = [project.temporary, *project.temporary.parents]
    closed = {part: part.stat().st_mode for part in way if not part.stat().st_mode & 0o001}
    for part, mode in closed.items():
        part.chmod(mode | 0o055)
    yield project
    for part, mode in closed.items():
        part.chmod(mode)


def objects(project: Project) -> list[Path]:
    return sorted(path for path in project.cache.rglob("*") if path.is_file())


def test_the_cache_of_a_finished_project_is_sound(project: Project) -> None:
    found = storage.check_cache(project)
    assert (found.status, found.names) == ("ok", ())
    assert found.found.startswith("4 objects")


@pytest.mark.parametrize("number", range(4))
def test_a_flipped_bit_that_dvc_trusts_is_found_and_the_pipeline_makes_the_object_again(
    project: Project, number: int
) -> None:
    damaged = objects(project)[number]
    content = damaged.read_bytes()
    assert damaged.stat().st_mode & 0o777 == 0o444
    flip_a_bit(damaged)
    if damaged.suffix != ".dir":
        assert dvc_is_content(project)  # DVC itself sees nothing
    found = storage.check_cache(project)
    assert (found.status, found.names) == ("fault", (project.shown(damaged),))
    assert "`dvc repro`" in found.remedy
    assert damaged.exists()  # looking changes nothing
    assert guarded(partial(storage.check_cache, project), mend=True).status == "mended"
    assert not damaged.exists()
    with Repo(str(project.root)) as repository:
        repository.reproduce()
    assert damaged.read_bytes() == content
    assert storage.check_cache(project).status == "ok"
    assert dvc_is_content(project)


def test_an_empty_cache_and_unfinished_files_are_no_fault(project: Project) -> None:
    for path in objects(project):
        path.unlink()
    (project.cache / "00").mkdir()
    (project.cache / "00" / ".abc.tmp").write_bytes(b"half")
    assert storage.check_cache(project).found.startswith("0 objects")


def test_a_remote_that_does_not_verify_is_named_and_told_to(root: Path) -> None:
    (root / ".dvc" / "config").write_text(
        "[core]\n    no_scm = true\n['remote \"good\"']\n    url = /tmp/good\n    verify = true\n"
        "['remote \"shared\"']\n    url = /tmp/shared\n"
    )
    (root / ".dvc" / "config.local").write_text("['remote \"own\"']\n    url = /tmp/own\n")
    project = Project(root)
    found = storage.check_remotes(project)
    assert (found.status, found.names) == ("fault", ("own", "shared"))
    assert "verify true" in found.remedy
    assert guarded(partial(storage.check_remotes, project), mend=True).status == "mended"
    again = storage.check_remotes(Project(root))
    assert (again.status, again.found) == ("ok", "3 remotes, all verified")
    assert "shared" not in (root / ".dvc" / "config.local").read_text()


def test_no_remote_is_no_fault(project: Project) -> None:
    assert storage.check_remotes(project).status == "ok"


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o707])
def test_a_site_cache_that_others_may_write_to_is_found_and_closed(
    entered: Project, mode: int
) -> None:
    project = entered
    folder = project.temporary / "site_cache"
    assert storage.check_site_cache(project).status == "ok"
    folder.chmod(mode)
    found = storage.check_site_cache(project)
    assert found.status == "fault"
    assert "others may write to .dvc/tmp/site_cache" in found.found
    assert guarded(partial(storage.check_site_cache, project), mend=True).status == "mended"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert storage.check_site_cache(project).status == "ok"


def test_a_copied_projects_site_cache_is_found_and_becomes_its_own(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_SITE_CACHE_DIR")
    original = tmp_path / "original" / ".dvc" / "tmp" / "site_cache"
    (root / ".dvc" / "config.local").write_text(f"[core]\n    site_cache_dir = {original}\n")
    project = Project(root)
    found = storage.check_site_cache(project)
    assert found.status == "fault"
    assert f"{original} is another project's" in found.found
    assert guarded(partial(storage.check_site_cache, project), mend=True).status == "mended"
    project.repository.close()
    assert not original.exists()
    mended = Project(root)
    assert Path(mended.repository.site_cache_dir).is_relative_to(root / ".dvc/tmp/site_cache")
    assert storage.check_site_cache(mended).status == "ok"
    mended.repository.close()


def test_a_site_cache_elsewhere_is_for_a_person_to_move(entered: Project, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "repo" / "0").mkdir(parents=True)
    shared.chmod(0o777)
    for part in (shared / "repo", shared / "repo" / "0"):
        part.chmod(0o755)
    vars(entered.repository)["site_cache_dir"] = str(shared / "repo" / "0")
    found = guarded(partial(storage.check_site_cache, entered), mend=True)
    assert found.status == "fault"
    assert "core.site_cache_dir" in found.remedy


def test_a_folder_that_only_we_enter_protects_what_is_below(entered: Project) -> None:
    (entered.temporary / "site_cache").chmod(0o777)
    assert storage.check_site_cache(entered).status == "fault"
    entered.root.chmod(0o700)
    assert storage.check_site_cache(entered).status == "ok"


def test_what_a_killed_ingest_unpacked_is_found_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert storage.check_unpacked().status == "ok"
    left = tmp_path / "knee-archive-left"
    fill(left, {"lock": b"", "files/a/1.png": b"x"})
    with locks.held(left / "lock", "the archive", keep=True):
        assert storage.check_unpacked().status == "ok"  # somebody reads it
    found = storage.check_unpacked()
    assert (found.status, found.names) == ("fault", (str(left),))
    assert guarded(storage.check_unpacked, mend=True).status == "mended"
    assert list(tmp_path.iterdir()) == []
