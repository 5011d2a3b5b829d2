"""The modules of this project that a served model needs, by following imports."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "stages"


def copy(entry: Path, out: Path) -> list[str]:
    """Copy what `entry` imports of this project, directly or not, below `out`; their paths."""
    needed = sorted(closure(entry))
    for name in needed:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, out / name)
    return needed


def closure(entry: Path) -> set[str]:
    """Paths, relative to the project, of the modules that `entry` imports, directly or not."""
    found: set[str] = set()
    waiting = _imported(entry)
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= _imported(ROOT / name) - found
    return found


def _imported(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names: list[str] = []
    for node in _run(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return {path for name in names if name.split(".")[0] == PACKAGE for path in _files(name)}


def _run(node: ast.AST) -> list[ast.AST]:
    """All nodes below but what only type checkers read."""
    found: list[ast.AST] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING":
            continue
        found += [child, *_run(child)]
    return found


def _files(name: str) -> set[str]:
    """Of a dotted name: the modules on its way that are files."""
    parts = name.split(".")
    found = set()
    for count in range(1, len(parts) + 1):
        base = Path(*parts[:count])
        for file in (base.with_suffix(".py"), base / "__init__.py"):
            if (ROOT / file).is_file():
                found.add(file.as_posix())
    return found
