"""What to do after a run: faults of the data first, then what the model is good for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from knee.evidence.comparison.predictor_names import called
from knee.promotion.verdict import FEW_GROUPS, Judged, Verdict

BLIND: Final = ("metadata", "border", "origin")  # shortcuts that do not see the joint
OWN_DATA: Final = "make films DATA=/path/to/films"
COMPARE: Final = "make compare"
USE: Final = "python -m stages.predict /path/to/films --out predictions.csv"


@dataclasses.dataclass(frozen=True)
class Step:
    """One thing to do: why, by which command or on which page below reports/."""

    text: str
    command: str = ""
    link: str = ""


def next_steps(
    audit: Mapping[str, Any],
    shortcuts: Mapping[str, Any],
    said: Verdict,
    found: Judged | None,
    registered: Mapping[str, Any],
) -> list[Step]:
    """Return what follows from audit.json, shortcuts.json, the verdict and registration.json."""
    return [
        *_of_the_protocol(audit),
        *_of_the_data(audit, shortcuts, found),
        *_of_the_model(said, registered),
    ]


def commands(steps: list[Step]) -> list[str]:
    """Return the two commands that come next: the first of `steps`, and the comparison."""
    first = [step.command for step in steps if step.command][:1]
    return [*dict.fromkeys([*first, COMPARE])]


def _of_the_protocol(audit: Mapping[str, Any]) -> list[Step]:
    steps = []
    if audit.get("synthetic"):
        steps.append(Step("These radiographs are drawn: run it on a folder of your own.", OWN_DATA))
    if audit.get("split_protocol") == "random":
        text = "The random split is for comparison with published work only: use -S split=grouped."
        steps.append(Step(text))
    return steps


def _of_the_data(
    audit: Mapping[str, Any], shortcuts: Mapping[str, Any], found: Judged | None
) -> list[Step]:
    steps = []
    if rejected := audit.get("rejected"):
        text = f"{_files(rejected)} could not be used: the list says why."
        steps.append(Step(text, link="data_docs/index.html"))
    if count := audit.get("conflicting_pictures"):
        text = f"{_radiographs(count)} several labels: ask someone who knows the patients."
        steps.append(Step(text, link="review.html#conflict"))
    if copies := sum(audit.get("copies", {}).values()):
        text = f"{_files(copies)} are copies of others: look whether you agree."
        steps.append(Step(text, link="audit.html#copies"))
    if unknown := audit.get("patients", {}).get("unknown"):
        text = (
            f"The patients of {unknown} images are unknown: if file names or a sheet tell them, "
            "set data.patient_pattern or data.sheet (docs/data.md)."
        )
        steps.append(Step(text))
    alarms = [called(name) for name in shortcuts.get("alarms", []) if name in BLIND]
    if alarms:
        text = f"The label can be guessed without bone, by {_listed(alarms)}: mix the sources."
        steps.append(Step(text, link="audit.html#shortcuts"))
    few = found is not None and found.part["groups"] < FEW_GROUPS
    if few and not audit.get("synthetic"):
        steps.append(
            Step("There are few images, so all intervals are wide: add more of each class.")
        )
    return steps


def _of_the_model(said: Verdict, registered: Mapping[str, Any]) -> list[Step]:
    model, alias = registered["backbone"], registered["alias"]
    steps = []
    if alias == "champion":
        if said.usable and not registered.get("synthetic"):  # such a model refuses other images
            steps.append(Step("Try it on images that it has not seen.", USE))
        steps.append(Step("Look at its answers, one image at a time.", "make demo"))
    elif alias == "challenger":
        promote = f'python -m stages.promote {registered["version"]} --reason "..."'
        if said.usable:
            text = "To use it against the gates, give a reason that others can read."
            steps.append(Step(text, promote))
        else:  # no command to copy
            steps.append(Step(f"Who uses it against this verdict says why: {promote}"))
    elif alias is None:
        text = "It has no version, as an earlier one is as good. To try it anyway:"
        steps.append(Step(text, f"{USE} --model models/{model}"))
    steps.append(Step("Read where it fails.", link=f"model_cards/{model}.html"))
    steps.append(Step("See all experiments in one table.", COMPARE))
    return steps


def _files(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"


def _radiographs(count: int) -> str:
    return f"{count:,} radiograph{' has' if count == 1 else 's have'}"


def _listed(names: list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
