"""Several stages at a time: their order, and several dvc at work."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import networkx as nx  # type: ignore[import-untyped]
import psutil
import pytest

from knee.execution import hardware
from knee.run import dvc_notes, parameters
from stages import repro
from tests.project import Project, copied, finished_project, ran

EDGES = [
    ("split", "ingest"),
    ("audit", "split"),
    ("embed@a", "ingest"),
    ("embed@b", "ingest"),
    ("train@a", "embed@a"),
    ("train@a", "split"),
    ("train@b", "embed@b"),
    ("train@b", "split"),
    ("compare", "train@a"),
    ("compare", "train@b"),
    ("compare", "audit"),
]
GRAPH = nx.DiGraph(EDGES)
SERVED = """
import pathlib, sys, time
folder = pathlib.Path({0!r})
for line in sys.stdin:
    cores, memory, gives_way, stage = line.split()
    print("\\x02", flush=True)
    (folder / f"{{stage}} begins").write_text(cores + memory + gives_way)
    print("works at", stage)
    {1}
    (folder / f"{{stage}} ends").touch()
    print("\\x1e" + str(int(stage in {2!r})), flush=True)
"""
NAP = "time.sleep(0.05)"
WAITING = (
    "end = time.monotonic() + 60\n"
    "    while stage.startswith('{0}') and len([*folder.glob('{0}* begins')]) < 2:\n"
    "        time.sleep(0.01); assert time.monotonic() < end"
)


def fake_dvc(folder: Path, work: str = NAP, failing: tuple[str, ...] = ()) -> tuple[str, ...]:
    """A `DvcProcess` that notes in `folder` what it is asked."""
    return (sys.executable, "-c", SERVED.format(str(folder), work, failing))


def test_what_dvc_cannot_read_is_left_to_dvc(tmp_path: Path) -> None:
    graph, changed = repro.read(tmp_path)  # no project
    assert (len(graph), changed) == (0, set())


def test_a_run_is_wide_where_two_stages_that_changed_do_not_wait_for_each_other() -> None:
    assert repro.is_wide(GRAPH, {"split"})
    assert repro.is_wide(GRAPH, {"embed@a", "audit"})
    assert not repro.is_wide(GRAPH, {"embed@a"}), "train@a and compare wait for it"
    assert not repro.is_wide(GRAPH, {"compare"})
    assert not repro.is_wide(GRAPH, set())


def test_the_stage_with_the_longest_way_to_go_is_first_and_of_equals_the_later_one() -> None:
    urgency = repro.urgency(GRAPH)
    ordered = sorted(GRAPH, key=urgency.__getitem__, reverse=True)
    assert ordered[0] == "ingest"
    assert ordered[-1] == "compare"
    assert ordered.index("embed@b") < ordered.index("embed@a") < ordered.index("audit")


def test_a_stage_begins_when_all_that_it_waits_for_has_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(repro, "DVC_PROCESS", fake_dvc(tmp_path))
    assert repro.SideBySide(GRAPH, 2).run() == []
    times = {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    assert len(times) == 2 * len(GRAPH)
    for stage, awaited in EDGES:
        assert times[f"{awaited} ends"] <= times[f"{stage} begins"]
    assert "train@a | works at train@a" in capsys.readouterr().out.splitlines()


def test_two_stages_run_at_the_same_time_and_are_told_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each embed waits for the other one to begin."""
    monkeypatch.setattr(repro, "DVC_PROCESS", fake_dvc(tmp_path, WAITING.format("embed")))
    assert repro.SideBySide(GRAPH, 3).run() == []
    told = {name: (tmp_path / f"{name} begins").read_text() for name in ("ingest", "embed@a")}
    assert told == {"ingest": "110", "embed@a": "330"}


def test_what_fails_keeps_back_only_what_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(repro, "DVC_PROCESS", fake_dvc(tmp_path, failing=("embed@a",)))
    assert repro.SideBySide(GRAPH, 2).run() == ["embed@a"]
    begun = {file.name.split()[0] for file in tmp_path.iterdir()}
    assert begun == {*GRAPH} - {"train@a", "compare"}


def test_a_dvc_that_is_killed_between_two_stages_is_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = fake_dvc(tmp_path)[2] + "    stage in ('ingest', 'embed@a') and sys.exit(1)\n"
    monkeypatch.setattr(repro, "DVC_PROCESS", (sys.executable, "-c", program))
    assert repro.SideBySide(GRAPH, 2).run() == []
    assert (tmp_path / "compare ends").exists()


def test_a_dvc_that_is_killed_has_failed_and_another_takes_its_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    work = "stage == 'embed@a' and sys.exit(1)"
    monkeypatch.setattr(repro, "DVC_PROCESS", fake_dvc(tmp_path, work))
    assert repro.SideBySide(GRAPH, 2).run() == ["embed@a"]
    assert (tmp_path / "train@b ends").exists()


def test_of_trainings_that_take_all_cores_one_gives_way_to_the_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each of them waits for the other one to begin."""
    whole = {"train@a", "train@b"}
    monkeypatch.setattr(repro, "DVC_PROCESS", fake_dvc(tmp_path, WAITING.format("train")))
    assert repro.SideBySide(GRAPH, 3, whole).run() == []
    told = [(tmp_path / f"train@{item} begins").read_text() for item in "ab"]
    assert sorted((words[0], words[2]) for words in told) == [("1", "0"), ("1", "1")]
    assert (tmp_path / "embed@b begins").read_text()[2] == "0", "no training has begun"


def test_what_begins_while_a_training_has_all_cores_gives_way_to_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """train@b ends only once the audit has begun beside it."""
    graph = nx.DiGraph([("compare", "train@b"), ("compare", "audit"), ("audit", "ingest")])
    work = (
        "end = time.monotonic() + 60\n"
        "    while stage == 'train@b' and not (folder / 'audit begins').exists():\n"
        "        time.sleep(0.01); assert time.monotonic() < end"
    )
    monkeypatch.setattr(repro, "DVC_PROCESS", fake_dvc(tmp_path, work))
    assert repro.SideBySide(graph, 2, {"train@b"}).run() == []
    told = {name: (tmp_path / f"{name} begins").read_text()[2] for name in ("audit", "compare")}
    assert told == {"audit": "1", "compare": "0"}


def test_a_dvc_that_runs_stages_here_counts_as_dvc_at_work(tmp_path: Path) -> None:
    """The doctor mends nothing meanwhile."""
    asleep = (sys.executable, "-c", "import time; time.sleep(600)", *repro.DVC_PROCESS[3:])
    with subprocess.Popen(asleep) as process:
        note = {"write": {"out": {"pid": process.pid, "cmd": ""}}, "read": {}}
        (tmp_path / "rwlock").write_text(json.dumps(note), encoding="utf-8")
        at_work = [number for number, _ in dvc_notes.at_work(tmp_path)]
        process.kill()
    assert at_work == [process.pid]


@pytest.mark.parametrize(
    ("weights", "train_from", "expected"),
    [
        ("none", "auto", {"train@a", "train@b"}),
        ("imagenet", "auto", set()),
        ("imagenet", "block11", {"train@a", "train@b"}),
        ("none", "head", set()),
    ],
)
def test_only_trainings_of_more_than_a_head_take_all_cores(
    weights: str, train_from: str, expected: set[str]
) -> None:
    settings = parameters.load(Path("params.yaml"))
    model = dataclasses.replace(settings.model, train_from=train_from)
    settings = dataclasses.replace(settings, model=model, weights=weights)
    assert repro.trainings(settings, GRAPH) == expected


@pytest.mark.parametrize(
    ("gpus", "engine", "gigabytes", "expected"),
    [(0, "local", 24, 2), (1, "local", 24, 1), (0, "ray", 24, 1), (0, "local", 12, 1)],
)
def test_stages_share_neither_a_gpu_nor_a_cluster_nor_too_little_memory(
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
def interruptible() -> Iterator[None]:
    """Ctrl-C reaches what is started, also where these tests run in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Project:
    """A copy of the project in which the tiny pipeline, of one backbone, has run."""
    return copied(finished_project(tmp_path_factory.getbasetemp()), tmp_path / "project")


@pytest.mark.tf
@pytest.mark.slow
def test_two_stages_at_a_time_make_the_bytes_of_one_after_the_other(project: Project) -> None:
    expected = project.lock()
    project.forget("audit", "explain@mobilenet")
    said = project.run(sys.executable, "-m", "stages.repro", "--at-once", "2").splitlines()
    ran_here = ran("\n".join(line.partition(" | ")[2] for line in said))
    assert sorted(ran_here) == ["audit", "explain@mobilenet"]
    assert "audit | Running stage 'audit':" in said
    assert project.lock() == expected
    assert ran(project.dvc("repro")) == []


@pytest.mark.tf
@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_it_leaves_nothing_running_and_the_next_run_makes_the_same(
    project: Project, by: signal.Signals
) -> None:
    """SIGTERM for the command alone, SIGINT for its group, as by Ctrl-C."""
    expected = project.lock()
    project.forget("audit", "explain@mobilenet")
    with subprocess.Popen(
        [sys.executable, "-m", "stages.repro", "--at-once", "2"],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith("explain@mobilenet | Running"))
        begun = psutil.Process(process.pid).children(recursive=True)
        time.sleep(1)
        os.kill(process.pid if by == signal.SIGTERM else -process.pid, by)
        process.stdout.read()
    assert process.returncode == 128 + by
    _, left = psutil.wait_procs(begun, timeout=60)
    assert left == []
    notes = json.loads((project.folder / ".dvc" / "tmp" / "rwlock").read_text(encoding="utf-8"))
    assert by == signal.SIGTERM or not any(notes.values()), "dvc was cut short"
    project.run(sys.executable, "-m", "stages.repro", "--at-once", "2")
    assert project.lock() == expected
