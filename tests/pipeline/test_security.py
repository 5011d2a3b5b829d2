"""Promises of docs/operations.md that no other test holds; each promise there has a test."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path, PosixPath

import pytest

from tests.project import PREDICTED, UNPICKLED, Project
from tests.tracking.runs import own_store

ROOT = Path(__file__).parents[2]
CODE = sorted(
    file for top in ("knee", "stages", "benchmarks") for file in (ROOT / top).rglob("*.py")
)
LOCKS = sorted(ROOT.glob("requirements*.txt"))
PICKLING = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
RUNNING_TEXT = {"eval", "exec", "compile", "__import__"}
UNSAFE_CALLS = {
    "read_pickle": "unpickles",
    "to_pickle": "pickles",
    "unsafe_load": "builds any object",
    "full_load": "builds any object",
    "enable_unsafe_deserialization": "lets a model file bring code",
    "system": "is a shell",
    "popen": "is a shell",
    "mktemp": "can be foreseen",
    "extractall": "writes where an archive says",
}


def unsafe(text: str) -> list[str]:
    """What a module does that could run a file's content: "line: what"."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".")[0] for alias in node.names]
            found += [f"{node.lineno}: {name}" for name in names if name in PICKLING]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PICKLING:
            found.append(f"{node.lineno}: {node.module}")
        elif isinstance(node, ast.Call):
            found += [f"{node.lineno}: {what}" for what in unsafe_call(node)]
    return found


def unsafe_call(node: ast.Call) -> list[str]:
    """What is wrong with a call."""
    given = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
    if isinstance(node.func, ast.Name):
        return [node.func.id] if node.func.id in RUNNING_TEXT else []
    if not isinstance(node.func, ast.Attribute):
        return []
    name, owner = node.func.attr, ast.unparse(node.func.value)
    found = [f"{name} {UNSAFE_CALLS[name]}"] if name in UNSAFE_CALLS else []
    if given.get("shell"):
        found.append("shell=True")
    if (owner, name) == ("np", "load") and given.get("allow_pickle") is not False:
        found.append("np.load without allow_pickle=False")
    if (owner, name) == ("yaml", "load") or owner == "torch":
        found.append(f"{owner}.{name}")
    if name == "load_model" and owner.startswith(("keras", "tf")) and not given.get("safe_mode"):
        found.append("load_model without safe_mode=True")
    if name == "get_file" or given.get("allow_pickle"):
        found.append(name)
    return found


def test_no_module_unpickles_or_runs_what_it_reads() -> None:
    assert CODE
    found = {str(file.relative_to(ROOT)): unsafe(file.read_text(encoding="utf-8")) for file in CODE}
    pipes = found.pop("knee/execution/processes.py")  # between our own processes, and no file
    assert [one.split()[-1] for one in pipes] == ["pickle"]
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "import numpy, joblib",
        "from cloudpickle import loads",
        "from dill.source import x",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "pd.read_pickle(path)",
        "torch.load(path)",
        "yaml.load(text)",
        "yaml.unsafe_load(text)",
        "eval(text)",
        "exec(text)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
        "keras.models.load_model(path)",
        "keras.models.load_model(path, safe_mode=False)",
        "keras.config.enable_unsafe_deserialization()",
        "tar.extractall(folder)",
    ],
)
def test_the_scan_finds_what_it_is_there_for(line: str) -> None:
    assert unsafe(f"def f():\n    {line}\n")


@pytest.mark.parametrize(
    "line",
    ["np.load(path, allow_pickle=False)", "yaml.safe_load(text)", "model.load(path)", "f(shell=0)"],
)
def test_the_scan_is_silent_about_safe_code(line: str) -> None:
    assert unsafe(line) == []


@pytest.mark.tf
@pytest.mark.slow
def test_nothing_is_unpickled_while_it_runs(finished: Project) -> None:
    """Neither by a stage nor by predict, and by no library under them."""
    heard = (finished.folder / UNPICKLED).read_text(encoding="utf-8").splitlines()
    first = f"{PosixPath.__module__}.{PosixPath.__name__}"  # not the same on all Pythons
    assert heard[:1] == [first], "the hook hears nothing"
    assert heard[1:] == []
    assert (finished.folder / PREDICTED).read_text(encoding="utf-8").count("\n") > 2


def test_mlflow_is_told_to_unpickle_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from knee.tracking import store

    monkeypatch.delenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", raising=False)
    store.prepare_environment()
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


def ui_command(monkeypatch: pytest.MonkeyPatch, root: Path) -> list[str]:
    """What `python -m knee.tracking ui` becomes."""
    from knee.tracking import __main__ as command

    became: list[list[str]] = []
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("os.execv", lambda _, words: became.append(words))
    assert command.main(["ui", "--port", "5999"]) == 0
    return became[0]


def test_mlflows_pages_are_for_this_machine_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    own_store(tmp_path, tmp_path_factory.getbasetemp(), monkeypatch)
    words = ui_command(monkeypatch, tmp_path)
    assert words[words.index("--host") + 1] == "127.0.0.1"
    assert not [word for word in words if "allowed-hosts" in word or "cors" in word]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_pin_has_its_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    pins = re.split(r"\n(?=\S)", text.strip())
    assert len(pins) > 10
    assert not [pin[:60] for pin in pins if "==" not in pin or "--hash=sha256:" not in pin]


def test_every_promise_of_the_docs_has_a_test_that_exists() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and "`tests/" in line]
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", text)
    assert len(rows) > 15
    assert len(named) >= len(rows)
    for file, test in named:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        tests = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert test in tests, f"{file}::{test}"
