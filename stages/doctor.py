"""Check the project's health, and mend what can be mended.

python -m stages.doctor [--mend] [--params params.yaml]

One line a check: ok, mended, or fault and what to do. Ends with 0 if no fault is left, else with 1.
Nothing is changed without --mend, and nothing is mended while DVC or a stage is at work.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from knee.health import machine, runs, space, storage, weights
from knee.health.project import Output, Project, open_project
from knee.health.result import HealthError, Result, guarded, healthy, summary, text
from knee.run import parameters

Look = tuple[str, Callable[[], Result]]
PIPELINE, SETTINGS, WORK = "pipeline", "params.yaml", "work"


def looks(project: Project, settings: parameters.Params | None, *, mend: bool) -> list[Look]:
    """Return checks and their names, in the order in which they have to mend."""
    locks = [project.root / "requirements.txt", project.root / "requirements-gpu.txt"]
    asked: list[Look] = []
    try:
        outputs = project.outputs()
        if settings is not None:
            asked = _of_settings(project, settings, outputs)
    except HealthError as error:
        asked = [(PIPELINE, partial(Result, PIPELINE, "fault", str(error)))]
    return [
        (storage.CACHE, partial(storage.check_cache, project, mend=mend)),
        *asked,
        (storage.REMOTES, partial(storage.check_remotes, project, mend=mend)),
        (storage.SITE_CACHE, partial(storage.check_site_cache, project, mend=mend)),
        (runs.STORE, partial(runs.check_store, mend=mend)),
        (runs.RUNS, partial(runs.check_runs, mend=mend)),
        (runs.MISSING, partial(runs.check_missing, mend=mend)),
        (machine.PYTHON, partial(machine.check_python, project.root / "pyproject.toml")),
        (machine.PACKAGES, partial(machine.check_packages, locks)),
        (machine.MACHINE, machine.check_machine),
    ]


def _of_settings(
    project: Project, settings: parameters.Params, outputs: Sequence[Output]
) -> list[Look]:
    """Checks of what params.yaml asks for."""
    frozen = settings.model.train_from not in ("all", "auto") or (
        settings.model.train_from == "auto" and settings.weights != "none"
    )
    images = Path(settings.data.path)
    plan = space.Plan(
        images=space.images_known(outputs, project.root / images),
        side_pixels=settings.ingest.image_size_pixels,
        views=1 + settings.embed.mirrored_view + settings.embed.augmented_views,
        backbones=settings.model.backbones if frozen else (),
    )
    disks = {"the project": project.root, "DVC's cache": project.temporary.parent}
    if project.cache.exists():
        disks["DVC's cache"] = project.cache
    if images.is_file():  # an archive is unpacked into the folder of temporary files
        disks["temporary files"] = Path(tempfile.gettempdir())
    needed = space.estimated_bytes(outputs, plan)
    records = {
        output.stage.removeprefix("embed@"): output.path / "embedding.json"
        for output in outputs
        if output.stage.startswith("embed@") and (output.path / "embedding.json").is_file()
    }
    asked = (settings.weights, settings.model.backbones, records, project.root)
    engine = (settings.embed.engine, settings.embed.precision)
    return [
        (space.SPACE, partial(space.check_space, needed, plan, disks)),
        (weights.WEIGHTS, partial(weights.check_weights, *asked)),
        (machine.ENGINE, partial(machine.check_engine, *engine)),
    ]


def run(root: Path, params_in: Path, *, mend: bool) -> list[Result]:
    """Run all checks of the project in `root` and print their results one by one.

    Raises:
        HealthError: `root` is no DVC project.
    """
    project = open_project(root)
    results: list[Result] = []

    def add(result: Result) -> None:
        results.append(result)
        sys.stdout.write(f"{text(result)}\n")
        sys.stdout.flush()

    settings = None
    try:
        settings = parameters.load(params_in)
    except parameters.ParamsError as error:
        add(Result(SETTINGS, "fault", str(error), "`make params` composes it again from conf/"))
    at_work = project.at_work()
    if mend and at_work:
        add(Result(WORK, "fault", f"nothing is mended now: {at_work}", "wait, or end it"))
        mend = False
    for name, look in looks(project, settings, mend=mend):
        add(guarded(name, look))
    return results


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run the checks and print their report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mend", action="store_true", help="mend what can be mended")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    chosen = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        results = run(Path.cwd(), chosen.params, mend=chosen.mend)
    except HealthError as error:
        sys.stderr.write(f"doctor: {error}\n")
        return 1
    sys.stdout.write(f"{summary(results)}\n")
    return 0 if healthy(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
