"""Write the page that a run ends with, and say its verdict.

PAGE leads to all other pages. It names files, so it stays on this machine. HEADLINE.json has the
few figures that `dvc metrics show` and `make compare` show.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
from pathlib import Path
from typing import Any, cast

from knee.evidence.comparison.predictor_names import called
from knee.evidence.evaluation.json_contents import ComparisonReport
from knee.evidence.evaluation.predictions import predicted_classes, read_predictions
from knee.promotion import next_steps, summary, verdict
from knee.records import known_patients, records_table
from knee.run import command, parameters
from knee.storage import artifacts, row_files

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage reads and writes."""

    records: Path = command.flag("records table of ingest")
    pixels: Path = command.flag("canonical pixels of ingest")
    metrics: Path = command.flag("folder with the figures of each backbone")
    comparison: Path = command.flag("folder of compare")
    registration: Path = command.flag("JSON file of register")
    page_out: Path = command.flag("HTML page, in the folder of all reports")
    headline_out: Path = command.flag("JSON file of what fits DVC's table")


def run(settings: parameters.Params, paths: Paths) -> None:
    """Write `page_out` and `headline_out`, then log the verdict and what comes next."""
    registered = artifacts.read_json(paths.registration, ("backbone", "verdict", "gates"))
    said = verdict.Verdict(**registered["verdict"])
    comparison = artifacts.read_json(paths.comparison / "comparison.json", ("evidence", "metric"))
    found = verdict.judged(cast(ComparisonReport, comparison), registered["backbone"])
    best = next(iter(found.values()), None)
    audit = artifacts.read_json(paths.metrics / "audit.json")
    shortcuts = artifacts.read_json(paths.metrics / "shortcuts.json")
    steps = next_steps.next_steps(audit, shortcuts, said, best, registered)
    test = artifacts.read_json(paths.metrics / registered["backbone"] / "test.json")
    facts = {
        "verdict": said,
        "judged": best,
        "steps": steps,
        "registered": registered,
        "data_set": settings.data.name,
        "date": datetime.date.today().isoformat(),
        "test": test,
        "caveat": known_patients.caveat(audit.get("patients")),
        "links": _links(settings, registered),
        **_of_test_images(paths, registered["backbone"], test),
    }
    artifacts.write_text(paths.page_out, summary.page(facts))
    artifacts.write_json(paths.headline_out, summary.headline(registered, found, test))
    log.info("\n%s\n", said.text)
    log.info("the page of this run: %s", paths.page_out)
    for text in next_steps.commands(steps):
        log.info("next: %s", text)


def _of_test_images(paths: Paths, backbone: str, report: dict[str, Any]) -> dict[str, Any]:
    """Mistakes, confusion matrix and calibration of the test rows."""
    file = paths.metrics / backbone / "predictions.csv"
    predicted = read_predictions(artifacts.read_bytes(file))
    test = predicted[predicted["subset"] == "test"].reset_index(drop=True)
    table, classes = records_table.read_records(paths.records), predicted_classes(predicted)
    pixels = row_files.PixelFile(
        paths.pixels, table.loc[table["record"].isin(test["record"]), "pixel_row"].to_numpy()
    )
    return {
        "classes": classes,
        "mistakes": summary.worst(test, table, pixels, classes),
        "confusion": summary.confusion(test, classes),
        "calibration": summary.calibration(test, report, classes),
    }


def _links(settings: parameters.Params, registered: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Title, address and one line about each page, addresses below the folder of reports."""
    cards = [
        (f"Model card: {called(name)}", f"model_cards/{name}.html", "made how, from what")
        for name in settings.model.candidates
    ]
    return [
        ("Audit", "audit.html", "copies, contradicting labels, shortcuts in the data"),
        (
            "Labels to review",
            "review.html",
            "contradicting or doubtful labels, to decide on",
        ),
        (
            "Comparison",
            "comparison/comparison.html",
            "do the models beat baselines that see no bone?",
        ),
        *cards,
        ("Checks of the records", "data_docs/index.html", "what was expected of the files"),
        ("Checks of the split", "data_docs_split/index.html", "who is in which subset"),
        ("MLflow's run", registered["run_page"], "curves and all files; start make ui first"),
    ]


main = command.stage("summarize", __doc__, Paths, run)

if __name__ == "__main__":
    raise SystemExit(main())
