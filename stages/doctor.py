"""Check the project's health, and mend what can be mended.

python -m stages.doctor [--mend] [--params params.yaml]

One line a check: ok, mended, or fault and what to do. Ends with 0 if no fault is left, else with 1.
Nothing is changed without --mend, and nothing is mended while DVC or a stage is at work.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from knee.health import leftovers, machine, patient_key, runs, space, storage, weights
from knee.health.project import Output, Project
from knee.health.result import HealthError, Result, guarded, summary, text
from knee.run import command, parameters

Looks = dict[str, Callable[[], Result]]


def looks(project: Project, settings: parameters.Params | None) -> Looks:
    """Return the checks by their names, in the order in which they have to mend."""
    locks = [project.root / "requirements.txt", project.root / "requirements-gpu.txt"]
    try:
        outputs = project.outputs()
        asked = {} if settings is None else _of_settings(project, settings, outputs)
    except HealthError as error:
        asked = {"pipeline": partial(Result, "fault", str(error))}
    return {
        "DVC's notes": partial(leftovers.check_notes, project),
        "git": partial(leftovers.check_git, project),
        "unfinished work": partial(leftovers.check_checkpoints, project),
        "known results": partial(leftovers.check_known_results, project),
        "cache objects": partial(storage.check_cache, project),
        **asked,
        "remotes": partial(storage.check_remotes, project),
        "DVC's site cache": partial(storage.check_site_cache, project),
        "unpacked archives": storage.check_unpacked,
        "store of runs": runs.check_store,
        "runs left open": runs.check_runs,
        "trainings in MLflow": runs.check_missing,
        "registered models": runs.check_registered,
        "Python": partial(machine.check_python, project.root / "pyproject.toml"),
        "packages": partial(machine.check_packages, locks),
        "machine": machine.check_machine,
    }


def _of_settings(project: Project, settings: parameters.Params, outputs: Sequence[Output]) -> Looks:
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
    return {
        "disk space": partial(space.check_space, needed, plan, disks),
        "weights": partial(weights.check_weights, *asked),
        "engine": partial(machine.check_engine, *engine),
        "patient key": partial(patient_key.check_patient_key, outputs),
    }


def checked(project: Project, params_in: Path, *, mend: bool) -> Iterator[tuple[str, Result]]:
    """Run all checks of a project; yield the name and the result of each."""
    settings = None
    try:
        settings = parameters.load(params_in)
    except parameters.ParamsError as error:
        remedy = "`make params` composes it again from conf/"
        yield "params.yaml", Result("fault", str(error), remedy)
    at_work = project.at_work()
    if mend and at_work:
        yield "work", Result("fault", f"nothing is mended now: {at_work}", "wait, or end it")
    for check, look in looks(project, settings).items():
        yield check, guarded(look, mend=mend and not at_work)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run the checks and print their report."""
    parser = command.parser(__doc__)
    parser.add_argument("--mend", action="store_true", help="mend what can be mended")
    chosen = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        project = Project(Path.cwd())
    except HealthError as error:
        sys.stderr.write(f"doctor: {error}\n")
        return 1
    results = []
    for check, result in checked(project, chosen.params, mend=chosen.mend):
        results.append(result)
        print(text(check, result), flush=True)  # noqa: T201  # the report
    sys.stdout.write(f"{summary(results)}\n")
    return 1 if any(result.status == "fault" for result in results) else 0


if __name__ == "__main__":
    raise SystemExit(main())
