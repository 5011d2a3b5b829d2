"""The machine, and the engine that will be used."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from knee.classifier.features.engines import EngineError
from knee.health import machine


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
    monkeypatch.setattr(machine, "GROUP_LIMITS", (str(limit), str(tmp_path / "none")))
    limit.write_text("1000000000\n")
    assert machine.check_machine().status == "fault"
    limit.write_text("max\n")
    assert machine._limits() == []


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
    monkeypatch.setattr(machine, "_gpus", lambda: [Path("/dev/nvidia0")])
    before = "tensorflow" in sys.modules
    assert "GPU" in machine.check_engine("auto", "auto").found
    assert ("tensorflow" in sys.modules) == before
