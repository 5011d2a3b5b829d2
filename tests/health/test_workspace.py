"""Outputs in the workspace whose change DVC does not see."""

from __future__ import annotations

import pytest

from knee.health.cache import place
from knee.health.project import Project
from knee.health.workspace import check_workspace
from tests.health.faults import dvc_is_content, flip_a_bit, output


def test_outputs_as_recorded_are_no_fault(project: Project) -> None:
    found = check_workspace(project, project.outputs(), mend=False)
    assert (found.status, found.found) == ("ok", "3 files, hashed again")


@pytest.mark.parametrize("name", ["data/one.txt", "data/many/b.txt"])
def test_a_flipped_bit_is_found_and_restored(project: Project, name: str) -> None:
    outputs = project.outputs()
    file = project.root / name
    before = file.read_bytes()
    flip_a_bit(file)
    assert dvc_is_content(project)  # DVC itself sees nothing
    found = check_workspace(project, outputs, mend=False)
    assert (found.status, found.names) == ("fault", (name,))
    assert file.read_bytes() != before
    mended = check_workspace(project, outputs, mend=True)
    assert mended.status == "mended"
    assert "1 restored" in mended.found
    assert file.read_bytes() == before
    assert check_workspace(project, outputs, mend=False).status == "ok"
    assert dvc_is_content(project)


def test_a_change_that_dvc_sees_beside_it_hides_no_flipped_bit(project: Project) -> None:
    many = output(project, "many").path
    flip_a_bit(many / "a.txt")
    (many / "b.txt").unlink()
    (many / "b.txt").write_text("edited, and longer")
    found = check_workspace(project, project.outputs(), mend=True)
    assert (found.status, found.names) == ("mended", ("data/many/a.txt",))
    assert (many / "a.txt").read_text() == "a\n"
    assert (many / "b.txt").read_text() == "edited, and longer"


def test_without_a_sound_object_dvc_is_made_to_see_the_change(project: Project) -> None:
    one = output(project, "one.txt")
    flip_a_bit(one.path)
    flip_a_bit(place(project.cache, one.md5))
    mended = check_workspace(project, project.outputs(), mend=True)
    assert mended.status == "mended"
    assert "`dvc repro` makes 1 again" in mended.found
    assert not dvc_is_content(project)


def test_what_a_person_edited_is_left_alone(project: Project) -> None:
    one = output(project, "one.txt")
    one.path.unlink()
    one.path.write_text("edited, and longer")
    found = check_workspace(project, project.outputs(), mend=True)
    assert found.status == "ok"
    assert found.found == "3 files, hashed again; 1 file changed, as `dvc status` shows"
    assert one.path.read_text() == "edited, and longer"
