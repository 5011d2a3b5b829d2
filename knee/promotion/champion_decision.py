"""Which backbone is registered, and whether it may take the champion's place.

The choice between backbones sees validation rows alone. The comparison with the champion sees
the test pictures that both have in common.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from knee.promotion.gates import Gate
from knee.run.errors import UserError
from knee.statistics import paired_comparison

# (class indices (rows,), probabilities (rows, classes)) -> figure, larger is better
Score = Callable[[npt.NDArray[np.integer[Any]], npt.NDArray[np.float64]], float]

NEEDED = ("pixel_sha256", "group", "subset", "label")
CHAMPION, CHALLENGER = "champion", "challenger"


class PredictionsError(UserError):
    """Predictions that lack a column, a subset, or name an unknown class."""


@dataclasses.dataclass(frozen=True)
class Decision:
    """The alias that a version gets, and why; `gates` are what it passed or failed."""

    alias: str
    reason: str
    gates: tuple[Gate, ...] = ()


@dataclasses.dataclass(frozen=True)
class Rules:
    """What a comparison with the champion needs.

    Attributes:
        classes: names in the order of the probabilities.
        metric: name of the figure, for reasons.
        score: computes it.
        minimum_common_groups: fewer common test groups are not comparable.
        minimum_probability: of being better than the champion, 0-1.
        draws: of the paired bootstrap that gives this probability.
        seed: of the draws.
    """

    classes: Sequence[str]
    metric: str
    score: Score
    minimum_common_groups: int
    minimum_probability: float = 0.9
    draws: int = 1000
    seed: int = 42


def subset_score(predictions: pd.DataFrame, subset: str, rules: Rules) -> float:
    """The figure of one subset's rows.

    Args:
        predictions: columns subset, label and `probability_<class>` of every class.
        subset: `val` or `test`.
        rules: classes and figure.

    Raises:
        PredictionsError: a column or the subset is missing, or a label is no class.
    """
    _check(predictions, rules.classes)
    rows = predictions[predictions["subset"] == subset]
    if rows.empty:
        raise PredictionsError(f"predictions have no rows of subset {subset}: run `dvc repro`")
    return _score(rows, rows["label"], rules)


def best(scores: Mapping[str, float]) -> str:
    """The name with the largest figure; the first of equals. NaN never wins."""
    if not scores:
        raise ValueError("no backbone to choose from")
    return max(scores, key=lambda name: -math.inf if math.isnan(scores[name]) else scores[name])


def decide(
    candidate: pd.DataFrame,
    champion: pd.DataFrame | None,
    rules: Rules,
    gates: Sequence[Gate] = (),
) -> Decision:
    """Champion if every gate is passed, the comparison with the present champion being the last.

    Both are judged on the pictures (by pixel SHA-256) that are test rows of both, with the
    candidate's labels, which are the newer ones.

    Args:
        candidate: predictions with the columns pixel_sha256, group, subset, label, probabilities.
        champion: the present champion's, or None if there is no champion.
        rules: classes, figure, and what a comparison needs.
        gates: what else was looked at.

    Raises:
        PredictionsError: the candidate's predictions lack something.
    """
    _check(candidate, rules.classes)
    return decision([*gates, _champion_gate(candidate, champion, rules)])


def decision(gates: Sequence[Gate]) -> Decision:
    """Champion if all are passed; the reason names what failed, or what was passed last."""
    failed = [gate for gate in gates if not gate.passed]
    if failed:
        reason = "; ".join(f"{gate.name}: {gate.reason}" for gate in failed)
        return Decision(CHALLENGER, reason, tuple(gates))
    return Decision(CHAMPION, gates[-1].reason, tuple(gates))


def _champion_gate(candidate: pd.DataFrame, champion: pd.DataFrame | None, rules: Rules) -> Gate:
    name = "champion"
    if champion is None:
        return Gate(name, passed=True, reason="there was no champion")
    lead = "not comparable with the champion"
    if _classes(champion) != set(rules.classes):
        return Gate(name, passed=False, reason=f"{lead}: it has other classes")
    try:
        _check(champion, rules.classes)
    except PredictionsError as error:
        return Gate(name, passed=False, reason=f"{lead}: its {error}")
    return _compare(*_common(candidate, champion), rules)


def _compare(candidate: pd.DataFrame, champion: pd.DataFrame, rules: Rules) -> Gate:
    name, lead = "champion", "not comparable with the champion"
    groups = candidate["group"].nunique()
    if groups < max(1, rules.minimum_common_groups):
        needed = f"{rules.minimum_common_groups} are needed"
        return Gate(name, passed=False, reason=f"{lead}: {groups} common test groups, {needed}")
    truth = _truth(candidate["label"], rules)
    contenders = [
        paired_comparison.Contender(which, "model", (_chances(rows, rules),))
        for which, rows in (("candidate", candidate), ("champion", champion))
    ]
    protocol = paired_comparison.Protocol(rules.metric, rules.draws, 0.95, rules.seed)
    found = paired_comparison.compare(truth, candidate["group"].to_numpy(), contenders, protocol)
    new, old = (found["figures"][one.name][rules.metric]["value"] for one in contenders)
    probability = found["differences"][0]["probability_better"]
    if new is None or old is None or probability is None:
        return Gate(name, passed=False, reason=f"{lead}: {rules.metric} is not defined")
    text = (
        f"better than the champion with a probability of {probability:.3f}, "
        f"{rules.minimum_probability:g} is needed: {rules.metric} {new:.4f} against {old:.4f} on "
        f"{groups} common test groups"
    )
    return Gate(name, passed=probability >= rules.minimum_probability, reason=text)


def _common(candidate: pd.DataFrame, champion: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Test rows of pictures that both have, in the same order, each picture once."""
    new, old = (
        frame[frame["subset"] == "test"].drop_duplicates("pixel_sha256").set_index("pixel_sha256")
        for frame in (candidate, champion)
    )
    pictures = new.index[new.index.isin(old.index)].sort_values()
    return new.loc[pictures], old.loc[pictures]


def _score(rows: pd.DataFrame, labels: pd.Series[Any], rules: Rules) -> float:
    return float(rules.score(_truth(labels, rules), _chances(rows, rules)))


def _truth(labels: pd.Series[Any], rules: Rules) -> npt.NDArray[np.int64]:
    index = {name: number for number, name in enumerate(rules.classes)}
    truth: npt.NDArray[np.int64] = np.array([index[str(label)] for label in labels], np.int64)
    return truth


def _chances(rows: pd.DataFrame, rules: Rules) -> npt.NDArray[np.float64]:
    return rows[[f"probability_{name}" for name in rules.classes]].to_numpy(np.float64)


def _check(predictions: pd.DataFrame, classes: Sequence[str]) -> None:
    needed = [*NEEDED, *(f"probability_{name}" for name in classes)]
    missing = [name for name in needed if name not in predictions.columns]
    if missing:
        raise PredictionsError(f"predictions have no column {', '.join(missing)}")
    unknown = sorted(set(predictions["label"].astype(str)) - set(classes))
    if unknown:
        raise PredictionsError(f"predictions have labels that are no class: {', '.join(unknown)}")


def _classes(predictions: pd.DataFrame) -> set[str]:
    prefix = "probability_"
    return {n.removeprefix(prefix) for n in predictions.columns if n.startswith(prefix)}
