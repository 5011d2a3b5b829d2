"""The machine, the engine that will be used, Python, and packages against the pins."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from knee.classifier.features.engines import EngineError
from knee.execution import hardware
from knee.health import machine
from knee.health.result import HealthError

NUMPY = importlib.metadata.version("numpy")
PANDAS = importlib.metadata.version("pandas")


def test_cores_and_memory_are_said() -> None:
    found = machine.check_machine()
    assert "cores" in found.found
    assert "of memory" in found.found


def test_instructions_are_those_of_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    assert machine.instructions() == []
    (tmp_path / "cpuinfo").write_text("model name\t: x\nflags\t\t: fpu avx512f amx_bf16\n")
    assert machine.instructions() == ["AVX-512", "AMX bfloat16"]


def test_too_little_memory_is_a_fault_also_where_a_group_limits_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(hardware, "GROUP_LIMITS", (str(limit), str(tmp_path / "none")))
    limit.write_text("1000000000\n")
    assert machine.check_machine().status == "fault"
    limit.write_text("max\n")
    assert hardware.memory_bytes() > 1e9


def test_the_engine_is_the_one_that_embed_will_choose() -> None:
    from knee.classifier.features.engines import choose

    chosen = choose("auto", "auto")
    found = machine.check_engine("auto", "auto")
    assert found.status == "ok"
    assert f"{chosen.name} in {chosen.precision}" in found.found


def test_an_engine_that_is_not_there_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise EngineError("engine openvino is not installed: choose auto or tensorflow")

    monkeypatch.setattr(machine, "choose", refuse)
    found = machine.check_engine("openvino", "auto")
    assert found.status == "fault"
    assert "not installed" in found.found


def test_a_gpu_does_not_start_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "gpus", lambda: [Path("/dev/nvidia0")])
    before = "tensorflow" in sys.modules
    assert "GPU" in machine.check_engine("auto", "auto").found
    assert ("tensorflow" in sys.modules) == before


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
    assert machine.pins(lock) == {"numpy": NUMPY, "pandas": PANDAS}
    found = machine.check_packages([lock])
    assert (found.status, found.found) == ("ok", "2 as requirements.txt pins them")


def test_drift_is_named_package_by_package(tmp_path: Path) -> None:
    lock = write(tmp_path, f"numpy==0.1\npandas=={PANDAS}\nno-such-package==2.0\n")
    found = machine.check_packages([lock])
    assert found.status == "fault"
    assert found.names == (
        "no-such-package is not installed, pinned 2.0",
        f"numpy {NUMPY}, pinned 0.1",
    )
    assert "make" in found.remedy


def test_the_lock_that_fits_best_counts(tmp_path: Path) -> None:
    one = write(tmp_path, "numpy==0.1\n")
    other = write(tmp_path, f"numpy=={NUMPY}\n", "requirements-gpu.txt")
    assert machine.check_packages([one, other]).found == "1 as requirements-gpu.txt pins them"


def test_a_missing_or_damaged_lock_is_said(tmp_path: Path) -> None:
    assert machine.check_packages([tmp_path / "requirements.txt"]).status == "fault"
    damaged = write(tmp_path, "numpy==1\n<<<<<<< HEAD\n")
    with pytest.raises(HealthError, match=r"requirements\.txt, line 2"):
        machine.check_packages([damaged])


@pytest.mark.parametrize(("wanted", "status"), [(">=3.11,<4", "ok"), (">=4", "fault")])
def test_python_is_compared_with_the_project(tmp_path: Path, wanted: str, status: str) -> None:
    file = write(tmp_path, f'[project]\nrequires-python = "{wanted}"\n', "pyproject.toml")
    assert machine.check_python(file).status == status


def test_a_project_file_without_python_is_said(tmp_path: Path) -> None:
    with pytest.raises(HealthError, match="does not say"):
        machine.check_python(write(tmp_path, "[project]\n", "pyproject.toml"))
