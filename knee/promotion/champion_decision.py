"""Choice of the model to register, and whether it may take the champion's place.

The choice between models sees images outside the test subset only. The comparison with the
champion sees the test images that both have in common, and of these only groups that neither has
trained on.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.evidence.evaluation import predictions
from knee.promotion.gates import Gate
from knee.statistics import paired_comparison, scores
from knee.statistics.bootstrap import Bootstrap
from knee.statistics.paired_comparison import MODEL, NamedPredictions
from knee.statistics.scores import Outcomes
from knee.storage.artifacts import ArtifactError

NEEDED: Final = ("pixel_sha256", "group", "subset", "label")
CHAMPION, CHALLENGER = "champion", "challenger"


@dataclasses.dataclass(frozen=True)
class Decision:
    """The alias that a version gets, and why; `gates` are what it passed or failed."""

    alias: str
    reason: str
    gates: tuple[Gate, ...] = ()


@dataclasses.dataclass(frozen=True)
class Rules:
    """Rules of the choice and of the comparison with the champion."""

    classes: Sequence[str]  # in the order of the probabilities
    metric: str  # of `scores.LARGER_IS_BETTER`, by which models are judged
    minimum_common_groups: int  # fewer common test groups are not comparable
    minimum_probability: float  # of being better than the champion, 0-1
    bootstrap: Bootstrap  # paired, gives this probability


def subset_score(table: pd.DataFrame, subset: str, rules: Rules) -> float:
    """Return the figure of one subset's rows of predictions, NaN where it is not defined.

    Raises:
        ArtifactError: a column or the subset is missing, or a label is no class.
    """
    _check(table, rules.classes)
    rows = table[table["subset"] == subset]
    if rows.empty:
        raise ArtifactError(f"predictions have no rows of subset {subset}: run `dvc repro`")
    outcomes = _outcomes(rows, rules)
    return scores.metric(rules.metric)(outcomes.truth, outcomes.probabilities)


def best(figures: Mapping[str, float], sizes: Mapping[str, int], margin: float) -> str:
    """Return the smallest net whose figure is at most `margin` below the largest one.

    Of nets of one size the first best one. NaN never wins. `sizes` are numbers of weights.
    """
    if not figures:
        raise ValueError("no backbone to choose from")
    known = {name: -math.inf if math.isnan(value) else value for name, value in figures.items()}
    near = [name for name in known if known[name] >= max(known.values()) - margin]
    return min(near, key=lambda name: (sizes[name], -known[name]))


def decide(
    candidate: pd.DataFrame,
    champion: pd.DataFrame | None,
    rules: Rules,
    gates: Sequence[Gate] = (),
    splits: tuple[pd.DataFrame, pd.DataFrame] | None = None,
) -> Decision:
    """Decide: champion if every gate is passed, the comparison with the present one the last.

    Both are judged on the images (by pixel SHA-256) that are test rows of both, with the
    candidate's labels, which are the newer ones. Both are tables of predictions; `champion` is None
    if there is no champion. `splits` are the subsets tables of the two: groups with an image that
    the other has trained on are left out, such as films of a patient whose number was unknown
    before. It is None where the champion's was not kept.

    Raises:
        ArtifactError: the candidate's predictions lack something.
    """
    _check(candidate, rules.classes)
    return decision([*gates, _champion_gate(candidate, champion, rules, splits)])


def decision(gates: Sequence[Gate]) -> Decision:
    """Decide by `gates`; the reason names what failed, or what was passed last."""
    if failed := failures(gates):
        return Decision(CHALLENGER, failed, tuple(gates))
    return Decision(CHAMPION, gates[-1].reason, tuple(gates))


def confirm(gates: Sequence[Gate], recorded: Sequence[Gate], promotion: str) -> Decision:
    """Decide about the present champion, registered again: it stays, for the reason it once had.

    `recorded` are the gates on its version, `promotion` is its tag. It is not compared with
    itself: the comparison that it won, or lost, stays as it was.
    """
    kept = [gate for gate in recorded if gate.name == CHAMPION]
    alias, _, reason = promotion.partition(": ")
    given = reason if alias == CHAMPION else "it is the champion already"
    return Decision(CHAMPION, given, (*gates, *kept))


def failures(gates: Sequence[Gate]) -> str:
    """Return the gates that failed and why, "" if none did."""
    return "; ".join(f"{gate.name}: {gate.reason}" for gate in gates if not gate.passed)


def _champion_gate(
    candidate: pd.DataFrame,
    champion: pd.DataFrame | None,
    rules: Rules,
    splits: tuple[pd.DataFrame, pd.DataFrame] | None,
) -> Gate:
    if champion is None:
        return Gate("champion", passed=True, reason="there was no champion")
    if set(predictions.predicted_classes(champion)) != set(rules.classes):
        return _not_comparable("it has other classes")
    try:
        _check(champion, rules.classes)
    except ArtifactError as error:
        return _not_comparable(f"its {error}")
    new, old = _common(candidate, champion)
    fair = _unseen(new, old, splits) if splits else np.full(len(new), fill_value=True)
    left_out = new["group"].nunique() - new.loc[fair, "group"].nunique()
    note = f", {left_out} more left out: one of the two has trained on images of theirs"
    return _compare(new[fair], old[fair], rules, note if left_out else "")


def _compare(candidate: pd.DataFrame, champion: pd.DataFrame, rules: Rules, note: str) -> Gate:
    groups = candidate["group"].nunique()
    if groups < max(1, rules.minimum_common_groups):
        return _not_comparable(
            f"{groups} common test groups, {rules.minimum_common_groups} are needed{note}"
        )
    outcomes = _outcomes(candidate, rules)
    compared = [
        NamedPredictions(name, MODEL, (predictions.probabilities_of(rows, rules.classes),))
        for name, rows in (("candidate", candidate), ("champion", champion))
    ]
    found = paired_comparison.compare(
        outcomes.truth, outcomes.groups, compared, rules.metric, rules.bootstrap
    )
    new, old = (found["figures"][one.name][rules.metric]["value"] for one in compared)
    probability = found["differences"][0]["probability_better"]
    if new is None or old is None or probability is None:
        return _not_comparable(f"{rules.metric} is not defined")
    text = (
        f"better than the champion with a probability of {probability:.3f}, "
        f"{rules.minimum_probability:g} is needed: {rules.metric} {new:.4f} against {old:.4f} on "
        f"{groups} common test groups{note}"
    )
    return Gate("champion", passed=probability >= rules.minimum_probability, reason=text)


def _not_comparable(why: str) -> Gate:
    return Gate("champion", passed=False, reason=f"not comparable with the champion: {why}")


def _common(candidate: pd.DataFrame, champion: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Test rows of images that both have, in the same order, each image once."""
    new, old = (
        frame[frame["subset"] == "test"].drop_duplicates("pixel_sha256").set_index("pixel_sha256")
        for frame in (candidate, champion)
    )
    images = new.index[new.index.isin(old.index)].sort_values()
    return new.loc[images], old.loc[images]


def _unseen(
    new: pd.DataFrame, old: pd.DataFrame, splits: tuple[pd.DataFrame, pd.DataFrame]
) -> npt.NDArray[np.bool_]:
    """(rows of `new` and `old`,) whether the other model has trained on no image of the group."""
    seen = [set(one.loc[one["subset"] != "test", "pixel_sha256"]) for one in splits]
    taken = [
        own.loc[own["pixel_sha256"].isin(others), "group"]
        for own, others in zip(splits, reversed(seen), strict=True)
    ]
    in_taken = new["group"].isin(taken[0]).to_numpy() | old["group"].isin(taken[1]).to_numpy()
    return np.logical_not(in_taken)


def _outcomes(rows: pd.DataFrame, rules: Rules) -> Outcomes:
    """Outcomes with the truth by name: class_index may be of another order of the classes."""
    truth = pd.Index(rules.classes).get_indexer(pd.Index(rows["label"].astype(str)))
    return Outcomes(
        truth,
        predictions.probabilities_of(rows, rules.classes),
        rows["group"].to_numpy(np.int64),
        rules.classes,
    )


def _check(table: pd.DataFrame, classes: Sequence[str]) -> None:
    needed = [*NEEDED, *(f"{predictions.PREFIX}{name}" for name in classes)]
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise ArtifactError(f"predictions have no column {', '.join(missing)}")
    unknown = sorted(set(table["label"].astype(str)) - set(classes))
    if unknown:
        raise ArtifactError(f"predictions have labels that are no class: {', '.join(unknown)}")
