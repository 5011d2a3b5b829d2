"""The pipeline's branches side by side: their plan, and several dvc at work."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import networkx as nx  # type: ignore[import-untyped]
import psutil
import pytest

from knee.execution import hardware
from knee.run import parameters
from stages import repro
from tests.project import Project, copied, finished_project, ran

EDGES = [
    ("split", "ingest"),
    ("audit", "split"),
    ("embed@a", "ingest"),
    ("train@a", "embed@a"),
    ("train@a", "split"),
    ("distil@a", "train@a"),
    ("embed@b", "ingest"),
    ("train@b", "embed@b"),
    ("join", "train@a"),
    ("join", "train@b"),
    ("compare", "join"),
    ("compare", "audit"),
]


def test_a_branch_has_what_waits_for_one_backbone_and_no_other() -> None:
    planned = repro.plan(nx.DiGraph(EDGES), ["a", "b"])
    assert planned.before == ("ingest", "split")
    assert planned.branches == {
        "a": ("embed@a", "train@a", "distil@a"),
        "b": ("embed@b", "train@b"),
        "others": ("audit",),
    }


def test_what_is_run_for_all_backbones_together_is_in_no_branch_even_of_one() -> None:
    graph = nx.DiGraph([*EDGES[:5], ("compare", "train@a"), ("compare", "audit")])
    assert repro.plan(graph, ["a"]).branches == {"a": ("embed@a", "train@a"), "others": ("audit",)}


def test_only_branches_with_a_change_are_due_unless_what_all_wait_for_has_changed() -> None:
    planned = repro.plan(nx.DiGraph(EDGES), ["a", "b"])
    assert list(planned.due({"train@b", "compare"})) == ["b"]
    assert list(planned.due({"compare"})) == []
    assert list(planned.due({"split"})) == ["a", "b", "others"]


def test_every_line_of_a_branch_begins_with_its_name_and_one_that_fails_leaves_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = "sys.exit('train@a' in sys.argv)"
    program = f"import sys; print('runs', sys.argv[-1]); {failing}"
    monkeypatch.setattr(repro, "DVC", (sys.executable, "-c", program))
    assert repro.Branches(2).run({"a": ("train@a",), "b": ("train@b",)}) == ["a"]
    assert sorted(capsys.readouterr().out.splitlines()) == ["a | runs train@a", "b | runs train@b"]


def test_branches_run_at_the_same_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each waits for the file of the other one."""
    program = (
        "import pathlib, sys, time; own, other = sys.argv[-1], {'a': 'b', 'b': 'a'}[sys.argv[-1]]\n"
        f"folder = pathlib.Path({str(tmp_path)!r}); (folder / own).touch()\n"
        "end = time.monotonic() + 60\n"
        "while not (folder / other).exists(): time.sleep(0.01); assert time.monotonic() < end"
    )
    monkeypatch.setattr(repro, "DVC", (sys.executable, "-c", program))
    assert repro.Branches(2).run({"a": ("a",), "b": ("b",)}) == []


@pytest.mark.parametrize(
    ("gpus", "engine", "gigabytes", "expected"),
    [(0, "local", 24, 2), (1, "local", 24, 1), (0, "ray", 24, 1), (0, "local", 12, 1)],
)
def test_branches_share_neither_a_gpu_nor_a_cluster_nor_too_little_memory(
    monkeypatch: pytest.MonkeyPatch, gpus: int, engine: str, gigabytes: int, expected: int
) -> None:
    monkeypatch.setattr(hardware, "cores", lambda: 2)
    monkeypatch.setattr(hardware, "gpus", lambda: [Path("/dev/nvidia0")] * gpus)
    monkeypatch.setattr(hardware, "memory_bytes", lambda: gigabytes * 2**30)
    settings = parameters.load(Path("params.yaml"))
    execution = dataclasses.replace(settings.execution, engine=engine)  # type: ignore[arg-type]
    settings = dataclasses.replace(settings, execution=execution)
    assert repro.most_at_once(settings) == expected


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Project:
    """A copy of the project in which the tiny pipeline, of one backbone, has run."""
    return copied(finished_project(tmp_path_factory.getbasetemp()), tmp_path / "project")


@pytest.mark.tf
@pytest.mark.slow
def test_backbone_and_audit_side_by_side_make_the_bytes_of_one_after_the_other(
    project: Project,
) -> None:
    expected = project.lock()
    project.forget("audit", "explain@mobilenet")
    said = project.run(sys.executable, "-m", "stages.repro", "--at-once", "2")
    assert {"mobilenet | Running stage 'explain@mobilenet':", "others | Running stage 'audit':"} <= (
        set(said.splitlines())
    )
    assert project.lock() == expected
    assert ran(project.dvc("repro")) == []


@pytest.mark.tf
@pytest.mark.slow
def test_told_to_end_it_leaves_nothing_running_and_the_next_run_makes_the_same(
    project: Project,
) -> None:
    expected = project.lock()
    project.forget("audit", "explain@mobilenet")
    with subprocess.Popen(
        [sys.executable, "-m", "stages.repro", "--at-once", "2"],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith("mobilenet | Running"))
        begun = psutil.Process(process.pid).children(recursive=True)
        time.sleep(1)
        os.kill(process.pid, signal.SIGTERM)
        process.stdout.read()
    assert process.returncode == 128 + signal.SIGTERM
    _, left = psutil.wait_procs(begun, timeout=60)
    assert left == []
    project.run(sys.executable, "-m", "knee.run.dvc_notes")
    project.run(sys.executable, "-m", "stages.repro", "--at-once", "2")
    assert project.lock() == expected
