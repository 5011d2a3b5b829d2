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

from knee.health import (
    cache,
    configuration,
    leftovers,
    locks,
    machine,
    runs,
    space,
    versions,
    weights,
    workspace,
)
from knee.health.project import Project, open_project
from knee.health.result import HealthError, Result, guarded, healthy, summary, text
from knee.run import parameters
from knee.tracking.pending import pending_folder

Look = tuple[str, Callable[[], Result]]
PIPELINE, SETTINGS, WORK = "pipeline", "params.yaml", "work"


def looks(project: Project, settings: parameters.Params | None, *, mend: bool) -> list[Look]:
    """Checks and their names, in the order in which they have to mend."""
    found: list[Look] = [
        (locks.LOCKS, partial(locks.check_locks, project, mend=mend)),
        (locks.TASKS, partial(locks.check_queue, project, mend=mend)),
    ]
    try:
        found += _of_outputs(project, settings, mend=mend)
    except HealthError as error:
        found.append((PIPELINE, partial(Result, PIPELINE, "fault", str(error))))
    found += [
        (configuration.REMOTES, partial(configuration.check_remotes, project, mend=mend)),
        (configuration.SITE_CACHE, partial(configuration.check_site_cache, project, mend=mend)),
        (runs.STORE, partial(runs.check_store, mend=mend)),
        (runs.RUNS, partial(runs.check_runs, mend=mend)),
        (runs.WAITING, partial(runs.check_waiting, mend=mend)),
        (versions.PYTHON, partial(versions.check_python, project.root / "pyproject.toml")),
        (
            versions.PACKAGES,
            partial(
                versions.check_packages,
                [project.root / "requirements.txt", project.root / "requirements-gpu.txt"],
            ),
        ),
        (machine.MACHINE, machine.check_machine),
    ]
    if settings is not None:
        embed = settings.embed
        engine = partial(machine.check_engine, embed.engine, embed.precision)
        found.append((machine.ENGINE, engine))
    return found


def _of_outputs(project: Project, settings: parameters.Params | None, *, mend: bool) -> list[Look]:
    """Checks of what dvc.yaml and dvc.lock say; `HealthError` if they cannot be read."""
    outputs, steps = project.outputs(), project.steps()
    found: list[Look] = [
        (cache.CACHE, partial(cache.check_cache, project, outputs, mend=mend)),
        (cache.RECORDED, partial(cache.check_recorded, project, outputs, mend=mend)),
        (workspace.WORKSPACE, partial(workspace.check_workspace, project, outputs, mend=mend)),
        (
            leftovers.LEFTOVERS,
            partial(
                leftovers.check_leftovers, project, outputs, steps, pending_folder(), mend=mend
            ),
        ),
    ]
    if settings is None:
        return found
    frozen = settings.model.train_from not in ("all", "auto") or (
        settings.model.train_from == "auto" and settings.weights != "none"
    )
    plan = space.Plan(
        images=space.images_known(project.root, steps),
        side_pixels=settings.ingest.image_size_pixels,
        views=1 + settings.embed.mirrored_view + settings.embed.augmented_views,
        backbones=settings.model.backbones if frozen else (),
    )
    needed = space.estimated_bytes(outputs, plan)
    disks = {"the project": project.root, "DVC's cache": project.temporary.parent}
    disks |= {"DVC's cache": project.cache} if project.cache.exists() else {}
    disks |= {"temporary files": Path(tempfile.gettempdir())} if _unpacks(settings) else {}
    records = {
        step.flag("--backbone"): project.root / step.flag("--features-out") / "embedding.json"
        for step in steps
        if step.flag("--features-out")
    }
    return [
        *found,
        (space.SPACE, partial(space.check_space, needed, plan, disks)),
        (
            weights.WEIGHTS,
            partial(
                weights.check_weights,
                settings.weights,
                settings.model.backbones,
                {name: path for name, path in records.items() if path.is_file()},
                project.root,
            ),
        ),
    ]


def _unpacks(settings: parameters.Params) -> bool:
    """Whether films come out of an archive, into the folder of temporary files."""
    return Path(settings.data.path).is_file()


def run(root: Path, params_in: Path, *, mend: bool) -> list[Result]:
    """All results of the project in `root`, printed one by one.

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
