"""Write each backbone's model card, as Markdown and as one page of HTML.

FOLDER of the cards gets BACKBONE.md and BACKBONE.html; registration logs them with the model.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

from knee.drawing.html import data_uri
from knee.promotion import candidates, model_card
from knee.run import command, overrides, parameters
from knee.storage import artifacts

DISTILLED = "one net that learned from an ensemble has no folds"
PICTURES = {  # name of a file of evaluate -> what it shows
    "confusion": "Test images by label and answer",
    "reliability": "How often it is right, by what it says",
    "worst_mistakes": "Wrong answers that it was surest of",
}
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage reads and writes."""

    models: Path = command.flag("folder with a folder of train for each backbone")
    metrics: Path = command.flag("folder with the figures of each backbone")
    comparison: Path = command.flag("folder of compare")
    conf: Path = command.flag("folder of the Hydra configuration, for the command that rebuilds")
    cards_out: Path = command.flag("folder of BACKBONE.md and BACKBONE.html")


def run(settings: parameters.Params, paths: Paths) -> None:
    """Write the cards of `settings.model.candidates` to the folder `cards_out`."""
    comparison = artifacts.read_json(paths.comparison / "comparison.json", ("evidence", "metric"))
    audit = artifacts.read_json(paths.metrics / "audit.json", ("leakage", "copies"))
    again = overrides.command(settings, paths.conf)
    with artifacts.staged_folder(paths.cards_out) as folder:
        for name in settings.model.candidates:
            facts = _facts(settings, name, comparison, audit, paths) | {"rebuild": again}
            text = model_card.markdown(facts)
            artifacts.write_text(folder / f"{name}.md", text)
            artifacts.write_text(
                folder / f"{name}.html", model_card.html(text, _pictures(paths.metrics / name))
            )
            log.info("%s: model card in %s", name, paths.cards_out / f"{name}.html")


def _facts(
    settings: parameters.Params,
    name: str,
    comparison: dict[str, Any],
    audit: dict[str, Any],
    paths: Paths,
) -> dict[str, Any]:
    candidate = candidates.read_candidate(name, paths.models / name, paths.metrics / name)
    folds = artifacts.read_json_if_present(paths.metrics / name / "cross_validation.json")
    folds = folds or {"status": "not run", "reason": DISTILLED}
    return {
        "training": candidate.training,
        "test": candidate.test,
        "audit": audit,
        "folds": folds if folds["status"] == "done" else None,
        "folds_missing": folds.get("reason", ""),
        **model_card.ranking(comparison, name),
        "explanation": artifacts.read_json_if_present(
            paths.metrics / name / "explanation_headline.json"
        ),
        "level": settings.evaluate.interval_level,
    }


def _pictures(metrics: Path) -> dict[str, str]:
    """The charts of evaluate that a card shows, as addresses of a page that loads nothing."""
    files = {title: metrics / "plots" / f"{name}.png" for name, title in PICTURES.items()}
    return {
        title: data_uri(file.read_bytes(), "image/png")
        for title, file in files.items()
        if file.is_file()
    }


main = command.stage("describe", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
