"""dvc.yaml against the code: dependencies cover imports, flags parse, outputs do not overlap."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
STAGES: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
NAMES = sorted(STAGES)
CODE = ("knee/", "stages/")
PLUMBING = {  # no byte of an output depends on it
    "knee/__init__.py": "offers the library to notebooks",
    "knee/classifier/__init__.py": "removes what a user's environment would change",
    "knee/execution/opening.py": "opens the place of work, which decides no byte",
    "knee/execution/on_ray.py": "another place of work; loaded by name",
    "knee/execution/worker_group.py": "starts and ends workers, wherever they lie",
    "knee/execution/hardware.py": "what the machine has",
    "knee/execution/processes.py": "another place of work, of the same bytes",
    "knee/execution/same_bits.py": "keeps out nodes whose bytes would differ",
    "knee/run": "starts, locks and ends commands, and hands parameters over",
}
ITEMS = {  # of a run of whole films with all kinds of models
    "${locate.locators}": ["knees"],
    "${model.backbones}": ["mobilenet", "xception"],
    "${model.joined}": ["ensemble"],
    "${model.distilled}": ["mobilenet"],
    "${model.candidates}": ["mobilenet", "xception", "ensemble", "mobilenet_distilled"],
}
LOCAL_FIRST = ("train", "distil", "evaluate")  # MLflow gets what is on disk, and may be away


BEHIND = ("evaluate", "compare", "review", "describe")  # read what evaluate has made


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


def plumbing(stage: str) -> tuple[Path, ...]:
    """Files and folders that change no output of a stage."""
    tracking = ("knee/tracking",) if stage in LOCAL_FIRST else ()
    return tuple(ROOT / path for path in (*PLUMBING, *tracking))


@cache
def needed(stage: str) -> frozenset[Path]:
    """The command and its imports, direct or not, without plumbing that it does not list."""
    skipped = plumbing(stage)
    seen: set[Path] = set()
    waiting = {ROOT / "stages" / f"{stage}.py"}
    while waiting:
        current = waiting.pop()
        seen.add(current)
        used = {
            file
            for file in imports(current)
            if not below(file, skipped) or below(file, listed(stage))
        }
        waiting |= used - seen
    return frozenset(seen)


def below(file: Path, places: Iterable[Path]) -> bool:
    """Whether `file` is one of the places or lies in one."""
    return any(file == place or place in file.parents for place in places)


def listed(stage: str) -> list[Path]:
    """The code that dvc.yaml lists for a stage."""
    return [ROOT / path for path in paths(body(stage).get("deps", [])) if path.startswith(CODE)]


@pytest.mark.parametrize("stage", NAMES)
def test_every_imported_module_is_a_dependency(stage: str) -> None:
    if body(stage).get("always_changed"):
        return  # it runs every time
    empty = {file for file in needed(stage) if file.name == "__init__.py" and not imports(file)}
    missing = [file for file in needed(stage) - empty if not below(file, listed(stage))]
    assert not sorted(str(file.relative_to(ROOT)) for file in missing)


@pytest.mark.parametrize("stage", NAMES)
def test_every_code_dependency_is_imported(stage: str) -> None:
    for place in listed(stage):
        assert any(below(file, [place]) for file in needed(stage)), place


@pytest.mark.parametrize("stage", LOCAL_FIRST)
def test_tracking_comes_last_or_gives_nothing_to_the_outputs(stage: str) -> None:
    """Where the code hands something to MLflow, nothing that comes back is written."""
    source = (ROOT / "stages" / f"{stage}.py").read_text(encoding="utf-8")
    tree = ast.parse(source)
    assigned = [
        node for node in ast.walk(tree) if isinstance(node, ast.Assign | ast.AugAssign | ast.Return)
    ]
    calls = [
        inner
        for node in assigned
        for inner in ast.walk(node)
        if isinstance(inner, ast.Attribute) and getattr(inner.value, "id", "") == "tracking"
    ]
    assert not calls


@pytest.mark.parametrize("stage", NAMES)
def test_every_artifact_of_the_command_is_declared(stage: str) -> None:
    definition = body(stage)
    groups = ("deps", "outs", "metrics", "plots")
    declared = [path for group in groups for path in paths(definition.get(group, []))]
    undeclared_on_purpose = (
        "checkpoints/${item}",
        "checkpoints/${item}_distilled",
        "checkpoints/cross_validation/${item}",
        "known_results/ingest",
        "known_results/${item}",
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
        Path(path.replace("${item}", item))
        for stage in NAMES
        for item in ITEMS.get(STAGES[stage].get("foreach"), ["sample"])
        for group in ("outs", "metrics", "plots")
        for path in paths(body(stage).get(group, []))
    ]
    assert len(outputs) == len(set(outputs))
    for one in outputs:
        assert not any(one in other.parents for other in outputs), one


@pytest.mark.parametrize("stage", NAMES)
def test_parameters_of_a_stage_exist_in_their_file(stage: str) -> None:
    for entry in body(stage).get("params", []):
        for file, keys in (entry if isinstance(entry, dict) else {"params.yaml": [entry]}).items():
            text = (ROOT / file).read_text(encoding="utf-8")
            values = tomllib.loads(text) if file.endswith(".toml") else yaml.safe_load(text)
            for key in keys or ():  # without keys it is the whole file
                found = values
                for part in key.split("."):
                    assert part in found, key
                    found = found[part]


@pytest.mark.parametrize("stage", NAMES)
def test_every_parameter_that_the_module_of_a_stage_reads_is_declared(stage: str) -> None:
    declared = {entry for entry in body(stage).get("params", []) if isinstance(entry, str)}
    source = (ROOT / "stages" / f"{stage}.py").read_text(encoding="utf-8")
    read = set(re.findall(r"\bsettings\.(\w+)\.(\w+)", source))
    missing = [f"{section}.{key}" for section, key in sorted(read) if section not in declared]
    # No result depends on the place of work.
    assert [
        key for key in missing if not key.startswith("execution.") and key not in declared
    ] == []


def test_join_depends_on_the_cross_validation_of_whichever_backbone_is_first() -> None:
    backbones = ITEMS["${model.backbones}"]
    needed_files = {f"metrics/{backbone}/cross_validation.json" for backbone in backbones}
    assert needed_files <= set(paths(body("join")["deps"]))


def test_a_model_card_depends_on_the_code_of_the_command_in_it() -> None:
    assert "knee/run/overrides.py" in paths(body("describe")["deps"])


def test_what_computes_depends_on_the_engines() -> None:
    engines = {"pyproject.toml": ["project.optional-dependencies.cpu"]}
    assert [name for name in NAMES if engines in body(name).get("params", [])] == [
        "cross_validate",
        "distil",
        "embed",
        "join",
        "train",
    ]


@pytest.mark.parametrize(
    ("extra", "lock"),
    [
        ("cpu", "requirements.txt"),
        ("gpu", "requirements-gpu.txt"),
        ("cluster", "requirements-cluster.txt"),
    ],
)
def test_the_engines_are_pinned_as_in_the_lock_file(extra: str, lock: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    locked = set(re.findall(r"^[\w-]+==[\w.]+", (ROOT / lock).read_text(), flags=re.MULTILINE))
    for requirement in project["optional-dependencies"][extra]:
        pin = re.sub(r"\[.*?\]", "", requirement).split(";")[0].strip()
        assert pin in locked, requirement


def test_no_stage_that_trains_or_chooses_data_reads_test_predictions() -> None:
    for stage in NAMES:
        reads = paths(body(stage).get("deps", []))
        if stage not in (*BEHIND, "register", "summarize"):
            assert "metrics" not in reads
            assert not any("predictions" in path for path in reads)


def test_dvc_hashes_what_data_manifest_names_and_not_the_folder_of_images() -> None:
    others = [stage for stage in NAMES if stage != "locate"]  # which takes no manifest
    dependencies = {path for stage in others for path in paths(body(stage).get("deps", []))}
    assert "${locate.manifest}" in paths(body("ingest")["deps"])
    assert "${data.path}" not in dependencies
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    manifests = {values[section]["manifest"] for section in ("data", "locate")}
    assert manifests == {values["data"]["path"]}  # no manifest, by default


def test_git_ignores_every_output_even_of_stages_and_models_that_are_off(tmp_path: Path) -> None:
    students = [f"{backbone}_distilled" for backbone in ("mobilenet", "xception")]
    items = ITEMS | {
        "${data.downloads}": ["kaggle"],
        "${model.distilled}": ["mobilenet", "xception"],
        "${model.candidates}": ["mobilenet", "xception", "ensemble", *students],
    }
    made = {
        path.replace("${item}", item)
        for stage in NAMES
        for group in ("outs", "metrics", "plots")
        for path in paths(body(stage).get(group, []))
        for item in items.get(STAGES[stage].get("foreach", ""), [""])
    }
    assert {"data/knees", "models/xception_distilled", "metrics/ensemble/plots/roc.png"} <= made
    for folder in {parent for path in made for parent in Path(path).parents}:
        if (ROOT / folder / ".gitignore").is_file():
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / folder / ".gitignore", tmp_path / folder)
    command = ["git", "-C", str(tmp_path)]
    subprocess.run([*command, "init", "--quiet"], check=True)
    asked = [*command, "check-ignore", "--stdin"]
    text = "\n".join(sorted(made))
    told = subprocess.run(asked, input=text, capture_output=True, text=True, check=False)
    assert sorted(made - {*told.stdout.splitlines()}) == []
