"""A trained model as a folder that serves it without this project: model, code, pins, start script.

The folder has the net converted for OpenVINO, so serving needs neither TensorFlow nor Keras; what
needs them, heat maps, is lost.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from knee.classifier.net.trained_model import TrainedModel
from knee.drawing import html
from knee.evidence.uncertainty import prediction_limits
from knee.location import locator_weights
from knee.run.errors import UserError
from knee.serving import exported
from knee.storage import artifacts, provenance
from knee.tracking import models

ROOT: Final = Path(__file__).parents[2]
START: Final = Path(exported.__file__)
NOT_SERVED: Final = ("knee.classifier.net.saved",)  # needs Keras
PACKAGES: Final = (  # that the served code imports
    "h11",
    "jinja2",
    "numpy",
    "openvino",
    "pandas",
    "pillow",
    "prometheus-client",
    "psutil",
    "pydicom",
    "python-gdcm",
    "scipy",
    "starlette",
    "threadpoolctl",
    "uvicorn",
)
TEMPLATES: Final = ("README.md", "Containerfile")
NOT_IN_IMAGES: Final = "venv\ntoken\n"  # what README.md has its reader make beside


class ExportError(UserError):
    """The folder to write is in use, or the project cannot be exported."""


def check_destination(folder: Path) -> None:
    """Check that `folder` is not there yet, or empty.

    Raises:
        ExportError: there is something.
    """
    is_new = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if folder.is_symlink() or not is_new:
        raise ExportError(f"{folder} is there already, and not empty: give another folder")


def write(trained: TrainedModel, graph: Path, folder: Path) -> None:
    """Write the model as a folder of its own, beside, then moved into place.

    Args:
        trained: the model.
        graph: its net, converted for OpenVINO (.xml, its weights beside it as .bin).
        folder: must not be there, or be empty.

    Raises:
        ExportError: `folder` is in use, or a package is not in requirements.txt.
    """
    check_destination(folder)
    pins = serving_pins((ROOT / "requirements.txt").read_text(encoding="utf-8"), PACKAGES)
    with artifacts.staged_folder(folder) as staged:
        for name in models.served_modules(START, NOT_SERVED):
            _copy(ROOT / name, staged / name)
        shutil.copytree(START.parent / "page", staged / "knee/serving/page")
        _copy(START, staged / "serve.py")
        (staged / "serve.py").chmod(0o755)
        _write_model(trained, graph, staged)
        artifacts.write_text(staged / "requirements.txt", pins)
        facts = _facts(trained)
        artifacts.write_json(staged / exported.FACTS, facts)
        for template in TEMPLATES:
            text = html.render(f"serving/exported_files/{template}.j2", **facts)
            artifacts.write_text(staged / template, text)
        artifacts.write_text(staged / ".dockerignore", NOT_IN_IMAGES)
        artifacts.write_text(staged / exported.SUMS, _sums(staged))


def serving_pins(lock: str, packages: Iterable[str]) -> str:
    """Return the lines of a lock, with their hashes, that `packages` and what they need have.

    What these need on other systems and Python versions is there too, if the lock has it.

    Raises:
        ExportError: the lock lacks one of `packages`.
    """
    blocks: dict[str, str] = {}
    for block in re.split(r"\n(?=\S)", lock.strip()):  # one for each system where they differ
        name = canonicalize_name(re.split(r"[\s;=\[]", block, maxsplit=1)[0])
        blocks[name] = f"{blocks.get(name, '')}{block}\n"
    wanted, found = [canonicalize_name(name) for name in packages], set[str]()
    if missing := sorted(set(wanted) - set(blocks)):
        raise ExportError(f"requirements.txt lacks {', '.join(missing)}: run make lock")
    while wanted:
        name = wanted.pop()
        if name in found or name not in blocks:
            continue
        found.add(name)
        wanted += [canonicalize_name(each.name) for each in _required(name)]
    return "".join(blocks[name] for name in sorted(found))


def _required(name: str) -> list[Requirement]:
    try:
        texts = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:  # it is for another system
        return []
    return [each for each in map(Requirement, texts) if "extra ==" not in str(each.marker)]


def _facts(trained: TrainedModel) -> dict[str, Any]:
    """What the exported folder knows of its model, beside the model itself."""
    return {
        "name": Path(trained.name).name,  # of a folder not where it lies
        "version": trained.version,
        "backbone": trained.training["backbone"],
        "model_sha256": trained.training["model_sha256"],
        "synthetic": trained.training["synthetic"],
        "openvino": importlib.metadata.version("openvino"),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
    }


def _write_model(trained: TrainedModel, graph: Path, staged: Path) -> None:
    target = staged / exported.GRAPH
    for suffix in (".xml", ".bin"):
        _copy(graph.with_suffix(suffix), target.with_suffix(suffix))
    artifacts.write_json(target.parent / "training.json", models.served_facts(trained.training))
    for name in (prediction_limits.NOVELTY_FILE, locator_weights.FILE):
        if (trained.folder / name).is_file():
            _copy(trained.folder / name, target.parent / name)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _sums(folder: Path) -> str:
    """Return the SHA-256 of each file of `folder`, as sha256sum writes them."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return "".join(
        f"{provenance.fingerprint(file)}  {file.relative_to(folder).as_posix()}\n" for file in files
    )
