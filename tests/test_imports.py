"""Who may import what: light stages stay light, stages stay apart."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "stages").rglob("*.py"))
SHARED = {"__init__", "command", "dvc_notes", "params", "termination"}  # by all stages
STAGES = {file.stem for file in (ROOT / "stages").glob("*.py")} - SHARED
LIGHT = (
    "sample",
    "fetch",
    "ingest",
    "validate",
    "split",
    "validate_split",
    "audit",
    "oversample",
    "embed",
    "cross_validate",
    "doctor",
)
HEAVY = {"tensorflow", "keras", "mlflow"}


def imported(file: Path) -> set[str]:
    """Dotted names that a module imports, anywhere in it but for type checkers."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def packages(file: Path) -> set[str]:
    """Top-level packages that a module imports."""
    return {name.split(".")[0] for name in imported(file)}


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_only_the_classifier_imports_tensorflow_and_only_tracking_mlflow(file: Path) -> None:
    inside = file.relative_to(ROOT / "stages").parts[0]
    if inside != "classifier":
        assert not packages(file) & {"tensorflow", "keras"}
    if inside != "tracking":
        assert "mlflow" not in packages(file)


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_only_what_checks_and_mends_dvc_imports_it(file: Path) -> None:
    if file.relative_to(ROOT / "stages").parts[0] not in ("health", "dvc_notes.py"):
        assert "dvc" not in packages(file)


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_no_stage_imports_another(stage: str) -> None:
    others = {f"stages.{other}" for other in STAGES - {stage}}
    assert not imported(ROOT / "stages" / f"{stage}.py") & others


def test_only_params_reads_params_yaml() -> None:
    readers = [
        file.name for file in MODULES if "yaml" in packages(file) or "hydra" in packages(file)
    ]
    assert readers == ["params.py"]


@pytest.mark.parametrize("stage", LIGHT)
def test_a_light_stage_starts_without_heavy_packages(stage: str) -> None:
    program = f"import sys, stages.{stage}; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert not loaded & (HEAVY | {"great_expectations", "sklearn", "matplotlib"})
