"""Register the model that is best on unseen images; make it champion if it passes every gate.

The choice never looks at test figures. What a champion has to pass is written on the version,
passed or failed; `python -m stages.promote` is a person's way past it. A training that failed, and
that an earlier version of the same split outdoes, stays a run without a version. Without MLflow
nothing is registered and nothing is lost.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from pathlib import Path
from typing import Any, cast

from knee import tracking
from knee.evidence.evaluation import predictions
from knee.evidence.evaluation.json_contents import AuditFacts, ComparisonReport
from knee.promotion import candidates, champion_decision, description, gates, verdict
from knee.run import command, parameters
from knee.splits.kept_split import read_subsets_table
from knee.statistics import scores
from knee.statistics.bootstrap import Bootstrap
from knee.storage import artifacts
from knee.tracking.registry import PROMOTION_TAG, Version

SELECTION_TAG = "selection."  # how the tag of the figure begins that a version was chosen by
ATTEMPTS = 5  # at a decision about a champion that other clones change meanwhile
PROMOTED = "%(model_name)s %(version)s (%(backbone)s) is champion: %(reason)s"
NOT_PROMOTED = (
    "%(model_name)s %(version)s (%(backbone)s) was not promoted. Failed gates: %(reason)s. To use "
    "it anyway: --model models:/%(model_name)s/%(version)s, or "
    'python -m stages.promote %(version)s --reason "..."'
)
NOT_REGISTERED = (
    "%(backbone)s got no version of %(model_name)s, only its run in MLflow. %(reason)s. To use it "
    "anyway: --model models/%(backbone)s"
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
    if all(map(math.isnan, selection.values())):
        raise parameters.ParamsError(
            f"register.selection_metric: {rules.metric} is not defined on the images that no model "
            "has seen (a class may have none): choose another"
        )
    sizes = {name: candidate.training["weights"] for name, candidate in read.items()}
    best = read[champion_decision.best(selection, sizes, chosen.cheaper_within)]
    reports = {
        f"{place}/{path.name}": path
        for place, folder in (("pipeline", paths.metrics), ("comparison", paths.comparison))
        for path in sorted(folder.iterdir())
        if path.suffix in REPORTS
    }
    audit = artifacts.read_json_if_present(paths.metrics / "audit.json")
    comparison = cast(
        ComparisonReport | None,
        artifacts.read_json_if_present(paths.comparison / "comparison.json"),
    )
    seen = {
        name: _gates(candidate, cast(AuditFacts | None, audit), comparison, chosen)
        for name, candidate in read.items()
    }
    verdicts = {
        name: verdict.verdict(name, comparison, candidate.test, seen[name])
        for name, candidate in read.items()
    }
    runs = {
        name: _publish(name, paths, reports, {rules.metric: round(score, 6)}, verdicts[name].text)
        for name, score in selection.items()
    }
    registered = _register(
        chosen.model_name,
        best,
        runs[best.backbone],
        rules,
        selection,
        seen[best.backbone],
        verdicts[best.backbone].text,
    )
    _log_table(read, selection, chosen.selection_metric)
    said = {tracking.CHAMPION: PROMOTED, tracking.CHALLENGER: NOT_PROMOTED, None: NOT_REGISTERED}
    logger.info(said[registered["alias"]], registered)
    registered["verdict"] = dataclasses.asdict(verdicts[best.backbone])
    artifacts.write_json(paths.registration_out, dict(sorted(registered.items())))


def _publish(
    name: str,
    paths: Paths,
    reports: dict[str, Path],
    chosen_by: dict[str, float],
    said: str,
) -> tuple[str, str]:
    """Publish a run with the verdict on it; return its id and the address of its page."""
    files = {**reports, **_card(paths.cards, name)}
    finished = tracking.collect(paths.models / name, paths.metrics / name, files, chosen_by)
    run_id = tracking.require_published(finished)
    return run_id, tracking.describe_run(run_id, said)


def _gates(
    candidate: candidates.Candidate,
    audit: AuditFacts | None,
    comparison: ComparisonReport | None,
    chosen: parameters.Register,
) -> list[gates.Gate]:
    """What a candidate passed and failed, without the comparison with the champion."""
    return [
        gates.split(candidate.training["split_protocol"]),
        gates.audit(audit),
        gates.shortcuts(comparison, candidate.backbone, chosen.minimum_probability),
        gates.calibration(candidate.judged, chosen.maximum_calibration_error),
        gates.out_of_distribution(candidate.test, chosen.minimum_out_of_distribution_auc),
    ]


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
    run: tuple[str, str],
    rules: champion_decision.Rules,
    selection: dict[str, float],
    seen: list[gates.Gate],
    said: str,
) -> dict[str, Any]:
    """Register `best` or leave it out; `run` is its run and that one's page, `said` the verdict."""
    registry = tracking.Registry(model_name)
    execution, (run_id, page) = best.training["execution"], run
    labels = tracking.labels(best.training)
    score = round(selection[best.backbone], 6)
    found: dict[str, Any] = {
        "model_name": model_name,
        "backbone": best.backbone,
        "run_id": run_id,
        "run_page": page,
        "execution": execution,
        "selection": {
            "subset": best.chosen_by,
            "metric": rules.metric,
            "scores": {
                name: None if math.isnan(value) else round(value, 6)
                for name, value in selection.items()
            },
        },
        "synthetic": best.training["synthetic"],
        "leaky": labels.tags["leaky"] == "true",
    }
    facts = {**best.training, "metric": rules.metric, "chosen_by": best.chosen_by}
    for _ in range(ATTEMPTS):
        champion = _champion(registry)
        decision = _decide(registry, champion, best, rules, seen)
        found["gates"] = [dataclasses.asdict(gate) for gate in decision.gates]
        if decision.alias == tracking.CHALLENGER:
            rival = _rival(registry, best, rules.metric, score)
            if rival:
                reason = f"{rival}. Failed gates: {decision.reason}"
                return found | {"alias": None, "version": None, "reason": reason}
        text = description.description(best.test, selection, facts, decision)
        card = f"[Model card]({tracking.card_address(page)})"
        version = registry.add(run_id, execution, labels.own_tags, f"{said}\n\n{card}\n\n{text}")
        tags = {f"{SELECTION_TAG}{rules.metric}": str(score), **description.tags(decision.gates)}
        registry.set_tags(version, tags)
        if registry.champion() == champion:  # else another clone has registered meanwhile
            break
    registry.set_alias(version, decision.alias, decision.reason)  # last: a kill leaves no alias
    if decision.alias == tracking.CHAMPION and (failed := champion_decision.failures(seen)):
        logger.warning("version %s stays champion, but fails now: %s", version.version, failed)
    return found | {
        "alias": decision.alias,
        "version": version.version,
        "reason": decision.reason,
    }


def _rival(
    registry: tracking.Registry, best: candidates.Candidate, metric: str, score: float
) -> str:
    """Say which version of the same split is as good as a training that failed a gate.

    "" where there is none, or the training has a version already. So a sweep registers what could
    be promoted and each time the best so far, not every run.
    """
    same, versions = best.training["split_fingerprint"], registry.versions()
    if any(version.execution == best.training["execution"] for version, _ in versions):
        return ""
    for version, tags in versions:
        known = tags.get(f"{SELECTION_TAG}{metric}")
        if known and tags.get("split_fingerprint") == same and not float(known) < score:
            found = f"{scores.title(metric)} {float(known):.3f} against {score:.3f}"
            return (
                f"Version {version.version} is as good on images that both have not seen: {found}"
            )
    return ""


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
    if said := registry.withdrawn(best.training["execution"]):
        seen = [*seen, gates.withdrawn(said)]
    if champion is None:
        return champion_decision.decide(best.predictions, None, rules, seen)
    if champion.execution == best.training["execution"]:
        found = registry.tags(champion)
        recorded = description.recorded_gates(found)
        return champion_decision.confirm(seen, recorded, found.get(PROMOTION_TAG, ""))
    content = registry.file_of_run(champion, "predictions.csv")
    if content is None:
        reason = f"not comparable: the predictions of champion {champion.version} are gone"
        missing = gates.Gate("champion", passed=False, reason=reason)
        return champion_decision.decision([*seen, missing])
    theirs = predictions.read_predictions(content)
    table, splits = registry.file_of_run(champion, f"pipeline/{candidates.SUBSETS_FILE}"), None
    if best.subsets is not None and table is not None:  # earlier releases published none
        splits = (best.subsets, read_subsets_table(table, "the champion's subsets.csv"))
    return champion_decision.decide(best.predictions, theirs, rules, seen, splits)


def _log_table(
    read: dict[str, candidates.Candidate], selection: dict[str, float], metric: str
) -> None:
    """The models; compare has told what they have to beat on the same records."""
    layout = "%-20s %-24s %-22s %s"
    how = f"{metric} {candidates.UNSEEN[next(iter(read.values())).chosen_by]}"
    logger.info(layout, "model", how, *(f"test {key}" for key in SHOWN))
    for name, candidate in read.items():
        figures = [description.with_interval(candidate.test, key) for key in SHOWN]
        logger.info(layout, name, f"{selection[name]:.3f}", *figures)
    if next(iter(read.values())).training["synthetic"]:
        logger.info("SYNTHETIC DATA: the figures say nothing about patients.")


main = command.stage("register", __doc__, Paths, _kept_without_mlflow)

if __name__ == "__main__":
    raise SystemExit(main())
