"""Register the model that is best on images it has not seen; make it champion if it deserves it.

The choice never looks at test figures. What a champion has to pass is written on the version,
passed or failed; `python -m stages.promote` is a person's way past it. Without MLflow nothing is
registered and nothing is lost.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any, cast

from knee import tracking
from knee.evidence.evaluation import predictions
from knee.evidence.evaluation.json_contents import AuditFacts, ComparisonReport
from knee.promotion import candidates, champion_decision, description, gates
from knee.run import command, parameters
from knee.statistics import scores
from knee.statistics.bootstrap import Bootstrap
from knee.storage import artifacts
from knee.tracking.registry import PROMOTION_TAG, Version

ATTEMPTS = 5  # at a decision about a champion that other clones change meanwhile
PROMOTED = "%(model_name)s %(version)s (%(backbone)s) is champion: %(reason)s"
NOT_PROMOTED = (
    "%(model_name)s %(version)s (%(backbone)s) was not promoted. Failed gates: %(reason)s. To use "
    "it anyway: --model models:/%(model_name)s/%(version)s, or "
    'python -m stages.promote %(version)s --reason "..."'
)
BY_HAND = "somebody in MLflow"
KEPT = "The models are trained and kept: run `dvc repro` again when the server is back."

SHOWN = ("accuracy", "macro_f1")  # test figures of the closing table
INTERVAL_LEVEL = 0.95  # of the comparison with the champion
# Reports of the pipeline with these endings go to MLflow: they hold no file names.
REPORTS = (".json", ".html", ".csv", ".png")

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Paths:
    """What the stage reads and writes."""

    models: Path = command.flag("folder with a folder of train for each backbone")
    metrics: Path = command.flag("folder with the figures of each backbone")
    comparison: Path = command.flag("folder of compare")
    cards: Path = command.flag("folder of describe")
    registration_out: Path = command.flag("JSON file: which version was registered, and why")


def run(settings: parameters.Params, paths: Paths) -> None:
    """Register the best of `settings.model.candidates` and write `registration_out`."""
    chosen = settings.register
    if chosen.selection_metric not in scores.LARGER_IS_BETTER:
        known = ", ".join(scores.LARGER_IS_BETTER)
        raise parameters.ParamsError(
            f"register.selection_metric: {chosen.selection_metric!r} is none of {known}"
        )
    read = {
        name: candidates.read_candidate(name, paths.models / name, paths.metrics / name)
        for name in settings.model.candidates
    }
    candidates.check_shared(list(read.values()))
    rules = champion_decision.Rules(
        classes=next(iter(read.values())).training["classes"],
        metric=chosen.selection_metric,
        minimum_common_groups=chosen.minimum_common_groups,
        minimum_probability=chosen.minimum_probability,
        bootstrap=Bootstrap(chosen.bootstrap_draws, INTERVAL_LEVEL, chosen.seed),
    )
    unseen = candidates.unseen(read.values())
    selection = {
        name: champion_decision.subset_score(unseen[name], candidate.chosen_by, rules)
        for name, candidate in read.items()
    }
    sizes = {name: candidate.training["weights"] for name, candidate in read.items()}
    best = read[champion_decision.best(selection, sizes, chosen.cheaper_within)]
    reports = {
        f"{place}/{path.name}": path
        for place, folder in (("pipeline", paths.metrics), ("comparison", paths.comparison))
        for path in sorted(folder.iterdir())
        if path.suffix in REPORTS
    }
    runs = {}
    for name in read:
        files = {**reports, **_card(paths.cards, name)}
        finished = tracking.collect(paths.models / name, paths.metrics / name, files)
        runs[name] = tracking.require_published(finished)
    audit = artifacts.read_json_if_present(paths.metrics / "audit.json")
    comparison = artifacts.read_json_if_present(paths.comparison / "comparison.json")
    seen = [
        gates.split(best.training["split_protocol"]),
        gates.audit(cast(AuditFacts | None, audit)),
        gates.shortcuts(
            cast(ComparisonReport | None, comparison), best.backbone, chosen.minimum_probability
        ),
        gates.calibration(best.judged, chosen.maximum_calibration_error),
        gates.out_of_distribution(best.test, chosen.minimum_out_of_distribution_auc),
    ]
    registered = _register(chosen.model_name, best, runs[best.backbone], rules, selection, seen)
    baselines = candidates.read_baselines(paths.metrics)
    _log_table(read, selection, chosen.selection_metric, baselines)
    said = NOT_PROMOTED if registered["alias"] == tracking.CHALLENGER else PROMOTED
    logger.info(said, registered)
    artifacts.write_json(paths.registration_out, dict(sorted(registered.items())))


def _kept_without_mlflow(settings: parameters.Params, paths: Paths) -> None:
    try:
        run(settings, paths)
    except tracking.TrackingError as error:
        raise tracking.TrackingError(f"{error}\n{KEPT}") from error


def _card(cards: Path, backbone: str) -> dict[str, Path]:
    found = {f"model_card{kind}": cards / f"{backbone}{kind}" for kind in (".md", ".html")}
    for path in found.values():
        if not path.is_file():
            raise artifacts.ArtifactError(f"{path} cannot be read: run `dvc repro`")
    return found


def _register(
    model_name: str,
    best: candidates.Candidate,
    run_id: str,
    rules: champion_decision.Rules,
    selection: dict[str, float],
    seen: list[gates.Gate],
) -> dict[str, object]:
    registry = tracking.Registry(model_name)
    execution = best.training["execution"]
    labels = tracking.labels(best.training)
    facts = {**best.training, "metric": rules.metric, "chosen_by": best.chosen_by}
    for _ in range(ATTEMPTS):
        champion = _champion(registry)
        decision = _decide(registry, champion, best, rules, seen)
        text = description.description(best.test, selection, facts, decision)
        version = registry.add(run_id, execution, labels.own_tags, text)
        registry.set_tags(version, description.tags(decision.gates))
        if registry.champion() == champion:  # else another clone has registered meanwhile
            break
    registry.set_alias(version, decision.alias, decision.reason)  # last: a kill leaves no alias
    if decision.alias == tracking.CHAMPION and (failed := champion_decision.failures(seen)):
        logger.warning("version %s stays champion, but fails now: %s", version.version, failed)
    return {
        "model_name": model_name,
        "backbone": best.backbone,
        "version": version.version,
        "alias": decision.alias,
        "reason": decision.reason,
        "run_id": run_id,
        "execution": execution,
        "selection": {
            "subset": best.chosen_by,
            "metric": rules.metric,
            "scores": {name: round(value, 6) for name, value in selection.items()},
        },
        "synthetic": best.training["synthetic"],
        "leaky": labels.tags["leaky"] == "true",
    }


def _champion(registry: tracking.Registry) -> Version | None:
    """The champion; where its alias was moved by hand past the gates, that is written on it."""
    champion = registry.champion()
    if champion is None:
        return None
    found = registry.tags(champion)
    failed = champion_decision.failures(description.recorded_gates(found))
    if failed and not found.get(PROMOTION_TAG, "").startswith(f"{tracking.CHAMPION}: "):
        logger.warning("the alias champion was moved by hand to a version that failed %s", failed)
        registry.override(champion.version, f"the alias was moved; failed gates: {failed}", BY_HAND)
    return champion


def _decide(
    registry: tracking.Registry,
    champion: Version | None,
    best: candidates.Candidate,
    rules: champion_decision.Rules,
    seen: list[gates.Gate],
) -> champion_decision.Decision:
    if champion is None:
        return champion_decision.decide(best.predictions, None, rules, seen)
    if champion.execution == best.training["execution"]:
        found = registry.tags(champion)
        recorded = description.recorded_gates(found)
        return champion_decision.confirm(seen, recorded, found.get(PROMOTION_TAG, ""))
    content = registry.predictions(champion)
    if content is None:
        reason = f"not comparable: the predictions of champion {champion.version} are gone"
        missing = gates.Gate("champion", passed=False, reason=reason)
        return champion_decision.decision([*seen, missing])
    theirs = predictions.read_predictions(content)
    return champion_decision.decide(best.predictions, theirs, rules, seen)


def _log_table(
    read: dict[str, candidates.Candidate],
    selection: dict[str, float],
    metric: str,
    baselines: dict[str, dict[str, Any]],
) -> None:
    """The models, and below them what they have to beat on the same test records."""
    layout = "%-20s %-24s %-22s %s"
    how = f"{metric} {candidates.UNSEEN[next(iter(read.values())).chosen_by]}"
    logger.info(layout, "model", how, *(f"test {key}" for key in SHOWN))
    for name, candidate in read.items():
        figures = [description.with_interval(candidate.test, key) for key in SHOWN]
        logger.info(layout, name, f"{selection[name]:.3f}", *figures)
    if baselines:
        logger.info("to beat, by no knowledge of bone (see the audit):")
    for name, test in baselines.items():
        figures = [description.with_interval(test, key) for key in SHOWN]
        logger.info(layout, name.replace("_", " "), "", *figures)
    if next(iter(read.values())).training["synthetic"]:
        logger.info("SYNTHETIC DATA: the figures say nothing about patients.")


main = command.stage("register", __doc__, Paths, _kept_without_mlflow)

if __name__ == "__main__":
    raise SystemExit(main())
