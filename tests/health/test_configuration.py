"""Remotes and the site cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.health import configuration
from stages.health.project import Project, open_project


def test_a_remote_that_does_not_verify_is_named_and_told_to(root: Path) -> None:
    (root / ".dvc" / "config").write_text(
        "[core]\n    no_scm = true\n['remote \"good\"']\n    url = /tmp/good\n    verify = true\n"
        "['remote \"shared\"']\n    url = /tmp/shared\n"
    )
    (root / ".dvc" / "config.local").write_text("['remote \"own\"']\n    url = /tmp/own\n")
    project = open_project(root)
    found = configuration.check_remotes(project, mend=False)
    assert (found.status, found.names) == ("fault", ("own", "shared"))
    assert "verify true" in found.remedy
    assert configuration.check_remotes(project, mend=True).status == "mended"
    again = configuration.check_remotes(open_project(root), mend=False)
    assert (again.status, again.found) == ("ok", "3 remotes, all verified")
    assert "shared" not in (root / ".dvc" / "config.local").read_text()


def test_no_remote_is_no_fault(project: Project) -> None:
    assert configuration.check_remotes(project, mend=False).status == "ok"


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o707])
def test_a_site_cache_that_others_may_write_to_is_found_and_closed(
    project: Project, tmp_path: Path, mode: int
) -> None:
    tmp_path.chmod(0o755)
    folder = project.root / ".dvc" / "tmp" / "site_cache"
    for part in (project.root, project.root / ".dvc", project.root / ".dvc" / "tmp"):
        part.chmod(0o755)
    assert configuration.check_site_cache(project, mend=False).status == "ok"
    folder.chmod(mode)
    found = configuration.check_site_cache(project, mend=False)
    assert found.status == "fault"
    assert "others may write to .dvc/tmp/site_cache" in found.found
    assert configuration.check_site_cache(project, mend=True).status == "mended"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert configuration.check_site_cache(project, mend=False).status == "ok"


def test_a_site_cache_elsewhere_is_for_a_person_to_move(project: Project, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "repo" / "0").mkdir(parents=True)
    shared.chmod(0o777)
    for part in (shared / "repo", shared / "repo" / "0"):
        part.chmod(0o755)
    vars(project.repository)["site_cache_dir"] = str(shared / "repo" / "0")
    found = configuration.check_site_cache(project, mend=True)
    assert found.status == "fault"
    assert "core.site_cache_dir" in found.remedy


def test_a_folder_that_only_we_enter_protects_what_is_below(project: Project) -> None:
    (project.root / ".dvc" / "tmp" / "site_cache").chmod(0o777)
    project.root.chmod(0o700)
    assert configuration.check_site_cache(project, mend=False).status == "ok"
