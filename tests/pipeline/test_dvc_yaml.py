"""dvc.yaml against the code: dependencies cover imports, flags parse, outputs do not overlap."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
STAGES: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
NAMES = sorted(STAGES)
CODE = ("knee/", "stages/")


def body(stage: str) -> dict[str, Any]:
    """A stage's definition, without what repeats it per item."""
    definition: dict[str, Any] = STAGES[stage].get("do", STAGES[stage])
    return definition


def paths(entries: list[Any]) -> list[str]:
    """The paths of a list of deps, outs, metrics or plots, with or without options."""
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def module_file(name: str) -> Path | None:
    """The file of a module of this project; None for any other module."""
    base = ROOT / Path(*name.split("."))
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            return file
    return None


@cache
def imports(file: Path) -> frozenset[Path]:
    """Files of this project that `file` imports, in functions too."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            parents = (module_file(".".join(parts[: n + 1])) for n in range(len(parts)))
            found |= {parent for parent in parents if parent is not None}
    return frozenset(found)


def closure(file: Path) -> set[Path]:
    """`file` and everything of this project that it imports, directly or not."""
    seen: set[Path] = set()
    waiting = {file}
    while waiting:
        current = waiting.pop()
        seen.add(current)
        waiting |= set(imports(current)) - seen
    return seen


@pytest.mark.parametrize("stage", NAMES)
def test_every_imported_module_is_a_dependency(stage: str) -> None:
    """Except knee/run: what starts, locks and ends a command changes no output."""
    listed = [ROOT / path for path in paths(body(stage)["deps"]) if path.startswith(CODE)]
    needed = closure(ROOT / "stages" / f"{stage}.py")
    needed = {file for file in needed if ROOT / "knee" / "run" not in file.parents}
    empty = {file for file in needed if file.name == "__init__.py" and not imports(file)}
    missing = sorted(
        str(file.relative_to(ROOT))
        for file in needed - empty
        if not any(file == dep or dep in file.parents for dep in listed)
    )
    assert not missing


@pytest.mark.parametrize("stage", NAMES)
def test_every_code_dependency_is_imported(stage: str) -> None:
    needed = closure(ROOT / "stages" / f"{stage}.py")
    listed = [path for path in paths(body(stage)["deps"]) if path.startswith(CODE)]
    for path in listed:
        file = ROOT / path
        assert file.exists(), path
        assert file in needed or any(file in used.parents for used in needed), path


@pytest.mark.parametrize("stage", NAMES)
def test_every_artifact_of_the_command_is_declared(stage: str) -> None:
    definition = body(stage)
    groups = ("deps", "outs", "metrics", "plots")
    declared = [path for group in groups for path in paths(definition.get(group, []))]
    undeclared_on_purpose = (
        "reports/data_docs",
        "reports/data_docs_split",
        "checkpoints/${item}",
        "checkpoints/cross_validation/${item}",
    )
    words = shlex.split(definition["cmd"])
    for word in [w for w in words if "/" in w and w not in undeclared_on_purpose]:
        assert any(
            word == path or path.startswith(f"{word}/") or word.startswith(f"{path}/")
            for path in declared
        ), word


@pytest.mark.parametrize("stage", NAMES)
def test_the_stages_flags_are_those_of_its_command(
    stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = shlex.split(body(stage)["cmd"])
    assert command[:2] == ["python", "-m"]
    module = importlib.import_module(f"stages.{stage}")
    with pytest.raises(SystemExit):
        module.main(["--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    given = {word for word in command if word.startswith("--")}
    assert given <= known
    with pytest.raises(SystemExit):
        module.main(["--no-such-flag"])


def test_no_output_lies_inside_another() -> None:
    outputs = [
        Path(path)
        for stage in NAMES
        for group in ("outs", "metrics", "plots")
        for path in paths(body(stage).get(group, []))
    ]
    assert len(outputs) == len(set(outputs))
    for one in outputs:
        assert not any(one in other.parents for other in outputs), one


@pytest.mark.parametrize("stage", NAMES)
def test_parameters_of_a_stage_exist_in_params_yaml(stage: str) -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for key in body(stage).get("params", []):
        found = values
        for part in key.split("."):
            assert part in found, key
            found = found[part]


def test_no_stage_that_trains_or_chooses_data_reads_test_predictions() -> None:
    for stage in NAMES:
        reads = paths(body(stage)["deps"])
        if stage not in ("evaluate", "explain", "compare", "describe", "register"):
            assert "metrics" not in reads
            assert not any("predictions" in path for path in reads)
