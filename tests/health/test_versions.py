"""Packages against the pins."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from knee.health import versions
from knee.health.result import HealthError

NUMPY = importlib.metadata.version("numpy")
PANDAS = importlib.metadata.version("pandas")


def write(folder: Path, text: str, name: str = "requirements.txt") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_pins_with_hashes_and_markers_are_read(tmp_path: Path) -> None:
    lock = write(
        tmp_path,
        f"# comment\nnumpy=={NUMPY} \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n"
        "other==1.0 ; python_full_version < '3' \\\n    --hash=sha256:22\n"
        f"Pandas=={PANDAS} ; python_full_version >= '3.11'\n",
    )
    assert versions.pins(lock) == {"numpy": NUMPY, "pandas": PANDAS}
    found = versions.check_packages([lock])
    assert (found.status, found.found) == ("ok", "2 as requirements.txt pins them")


def test_drift_is_named_package_by_package(tmp_path: Path) -> None:
    lock = write(tmp_path, f"numpy==0.1\npandas=={PANDAS}\nno-such-package==2.0\n")
    found = versions.check_packages([lock])
    assert found.status == "fault"
    assert found.names == (
        "no-such-package is not installed, pinned 2.0",
        f"numpy {NUMPY}, pinned 0.1",
    )
    assert "make" in found.remedy


def test_the_lock_that_fits_best_counts(tmp_path: Path) -> None:
    one = write(tmp_path, "numpy==0.1\n")
    other = write(tmp_path, f"numpy=={NUMPY}\n", "requirements-gpu.txt")
    assert versions.check_packages([one, other]).found == "1 as requirements-gpu.txt pins them"


def test_a_missing_or_damaged_lock_is_said(tmp_path: Path) -> None:
    assert versions.check_packages([tmp_path / "requirements.txt"]).status == "fault"
    damaged = write(tmp_path, "numpy==1\n<<<<<<< HEAD\n")
    with pytest.raises(HealthError, match=r"requirements\.txt, line 2"):
        versions.check_packages([damaged])


@pytest.mark.parametrize(("wanted", "status"), [(">=3.11,<4", "ok"), (">=4", "fault")])
def test_python_is_compared_with_the_project(tmp_path: Path, wanted: str, status: str) -> None:
    file = write(tmp_path, f'[project]\nrequires-python = "{wanted}"\n', "pyproject.toml")
    assert versions.check_python(file).status == status


def test_a_project_file_without_python_is_said(tmp_path: Path) -> None:
    with pytest.raises(HealthError, match="does not say"):
        versions.check_python(write(tmp_path, "[project]\n", "pyproject.toml"))
