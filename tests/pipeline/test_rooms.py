"""Who may import what: the order of the rooms, light stages stay light, stages stay apart."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = sorted(file for top in ("knee", "stages") for file in (ROOT / top).rglob("*.py"))
STAGES = {file.stem for file in (ROOT / "stages").glob("*.py")} - {"__init__"}
ROOMS = (  # of knee, each may import those before it
    "run",
    "storage",
    "execution",
    "statistics",
    "drawing",
    "records",
    "reading",
    "synthetic",
    "copies",
    "splits",
    "intake",
    "location",
    "validation",
    "audit",
    "evidence.explanation",
    "evidence.evaluation",
    "evidence.uncertainty",
    "evidence.comparison",
    "evidence.review",
    "promotion",
    "classifier.net",
    "classifier.features",
    "classifier.attribution",
    "classifier.training",
    "classifier.inference",
    "prediction",
    "tracking",
    "serving",
    "health",
)
LIGHT = (
    "check",
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


@functools.cache
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


def importing(package: str) -> dict[str, set[str]]:
    """The names of modules that import `package`, by the folder below knee or stages, or file."""
    found: dict[str, set[str]] = {}
    for file in MODULES:
        if package in packages(file):
            found.setdefault(file.relative_to(ROOT).parts[1], set()).add(file.stem)
    return found


def test_only_the_classifier_imports_tensorflow_and_only_tracking_mlflow() -> None:
    assert {*importing("tensorflow"), *importing("keras")} == {"classifier"}
    assert importing("mlflow").keys() == {"tracking"}


def test_only_what_runs_checks_and_mends_dvc_imports_it() -> None:
    elsewhere = {folder: names for folder, names in importing("dvc").items() if folder != "health"}
    assert elsewhere == {"run": {"dvc_notes", "experiments"}, "repro.py": {"repro"}}


def room(name: str) -> str | None:
    """The room of a dotted name, such as "classifier.net" of knee.classifier.net.heads."""
    inside = name.removeprefix("knee.")
    return next((one for one in ROOMS if f"{inside}.".startswith(f"{one}.")), None)


def test_a_room_imports_only_the_rooms_before_it() -> None:
    wrong: dict[str, set[str]] = {}
    for file in MODULES:
        dotted = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        own = room(dotted)
        if dotted.startswith("knee.") and own is not None:
            names = {name for name in imported(file) if name.split(".")[0] in ("knee", "stages")}
            above = ROOMS[ROOMS.index(own) + 1 :]
            found = {name for name in names if name.startswith("stages") or room(name) in above}
            wrong |= {dotted: found} if found else {}
    assert wrong == {}


def test_every_folder_of_the_library_is_a_room() -> None:
    folders = {
        ".".join(file.parent.relative_to(ROOT / "knee").parts)
        for file in (ROOT / "knee").rglob("*.py")
        if file.name != "__init__.py"
    }
    assert folders == set(ROOMS)


def test_no_folder_is_crowded() -> None:
    for folder in {file.parent for file in MODULES} - {ROOT / "stages"}:
        modules = [file for file in folder.glob("*.py") if file.name != "__init__.py"]
        assert len(modules) <= 16, folder


def test_no_stage_imports_another() -> None:
    names = {stage: f"stages.{stage}" for stage in STAGES}
    for stage in STAGES:
        others = {*names.values()} - {names[stage]}
        assert not imported(ROOT / "stages" / f"{stage}.py") & others, stage


def test_only_params_reads_params_yaml() -> None:
    readers = [
        file.name for file in MODULES if "yaml" in packages(file) or "hydra" in packages(file)
    ]
    composing = {"parameters.py", "overrides.py"}
    of_dvc_lock = {"publishing.py", "dvc_notes.py"}
    assert set(readers) == composing | of_dvc_lock


ONE_AFTER_ANOTHER = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(f"stages.{name}")
    print(name, *sys.modules)
"""


def test_light_stages_start_without_heavy_packages() -> None:
    """Imported one after another by one process: the first that loads too much is named."""
    command = [sys.executable, "-c", ONE_AFTER_ANOTHER, *LIGHT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {line.split()[0]: {*line.split()[1:]} for line in done.stdout.splitlines()}
    heavy = HEAVY | {"great_expectations", "sklearn", "matplotlib"}
    assert list(loaded) == list(LIGHT)
    assert [name for name in LIGHT if loaded[name] & heavy] == []
