"""Objects of the cache: what their names promise, and what dvc.lock asks for."""

from __future__ import annotations

import shutil

import pytest

from knee.health import cache
from knee.health.project import Project
from tests.health.faults import dvc_is_content, flip_a_bit, output


def test_a_finished_project_is_sound(project: Project) -> None:
    outputs = project.outputs()
    whole = cache.check_cache(project, outputs, mend=False)
    assert (whole.status, whole.names) == ("ok", ())
    assert whole.found.startswith("4 objects")
    recorded = cache.check_recorded(project, outputs, mend=False)
    assert (recorded.status, recorded.found) == ("ok", "2 of 2 outputs in the cache")


@pytest.mark.parametrize("name", ["one.txt", "many", "a.txt"])
def test_a_flipped_bit_that_dvc_trusts_is_found_and_mended(project: Project, name: str) -> None:
    outputs = project.outputs()
    many = output(project, "many")
    files = cache.files_of(many, project.cache)
    assert files is not None
    md5 = files[many.path / "a.txt"] if name == "a.txt" else output(project, name).md5
    damaged = cache.place(project.cache, md5)
    assert damaged.stat().st_mode & 0o777 == 0o444
    flip_a_bit(damaged)
    if name != "many":
        assert dvc_is_content(project)  # DVC itself sees nothing
    found = cache.check_cache(project, outputs, mend=False)
    assert found.status == "fault"
    assert found.names == (project.shown(damaged),)
    assert damaged.exists()  # looking changes nothing
    mended = cache.check_cache(project, outputs, mend=True)
    assert mended.status == "mended"
    assert cache.check_recorded(project, outputs, mend=True).status in ("ok", "mended")
    assert cache.check_cache(project, outputs, mend=False).status == "ok"
    assert cache.check_recorded(project, outputs, mend=False).status == "ok"
    assert dvc_is_content(project)
    assert damaged.stat().st_mode & 0o777 == 0o444


def test_a_damaged_object_without_a_sound_copy_goes_and_the_pipeline_makes_it_again(
    project: Project,
) -> None:
    outputs = project.outputs()
    one = output(project, "one.txt")
    content = one.path.read_bytes()
    flip_a_bit(cache.place(project.cache, one.md5))
    one.path.unlink()
    mended = cache.check_cache(project, outputs, mend=True)
    assert mended.status == "mended"
    assert "0 put back" in mended.found
    assert "`dvc repro`" in mended.found
    built = cache.check_recorded(project, outputs, mend=False)
    assert (built.status, built.found) == (
        "ok",
        "1 of 2 outputs in the cache; 1 are not built: `dvc repro` does it",
    )
    project.repository.reproduce()
    assert one.path.read_bytes() == content
    assert cache.check_cache(project, outputs, mend=False).status == "ok"


@pytest.mark.parametrize("name", ["one.txt", "many"])
def test_an_object_that_is_gone_is_named_and_copied_from_the_workspace(
    project: Project, name: str
) -> None:
    outputs = project.outputs()
    lost = cache.place(project.cache, output(project, name).md5)
    before = lost.read_bytes()
    lost.unlink()
    found = cache.check_recorded(project, outputs, mend=False)
    assert found.status == "fault"
    assert [line.split()[0] for line in found.names] == [f"data/{name}"]
    assert not lost.exists()
    assert cache.check_recorded(project, outputs, mend=True).status == "mended"
    assert lost.read_bytes() == before
    assert dvc_is_content(project)


def test_a_lost_file_of_a_folder_that_changed_meanwhile_stays_a_fault(project: Project) -> None:
    outputs = project.outputs()
    many = output(project, "many")
    files = cache.files_of(many, project.cache)
    assert files is not None
    cache.place(project.cache, files[many.path / "a.txt"]).unlink()
    (many.path / "a.txt").write_text("other")
    left = cache.check_recorded(project, outputs, mend=True)
    assert left.status == "fault"
    assert [line.split()[0] for line in left.names] == ["data/many/a.txt"]
    assert "dvc repro" in left.remedy


def test_a_fresh_clone_is_healthy(project: Project) -> None:
    outputs = project.outputs()
    shutil.rmtree(project.cache)
    for out in outputs:
        shutil.rmtree(out.path) if out.is_folder else out.path.unlink()
    assert cache.check_cache(project, outputs, mend=False).status == "ok"
    built = cache.check_recorded(project, outputs, mend=False)
    assert built.status == "ok"
    assert "nothing is built yet" in built.found


def test_another_version_of_an_output_is_no_fault(project: Project) -> None:
    one = output(project, "one.txt")
    one.path.chmod(0o644)
    one.path.write_text("edited")
    cache.place(project.cache, one.md5).unlink()
    assert cache.check_recorded(project, [one], mend=False).status == "ok"  # `dvc status` shows it


def test_unfinished_files_are_no_objects(project: Project) -> None:
    (project.cache / "00").mkdir()
    (project.cache / "00" / ".abc.tmp").write_bytes(b"half")
    assert cache.check_cache(project, project.outputs(), mend=False).status == "ok"
